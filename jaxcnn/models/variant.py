"""All that the registry knows of one network: its module, its weight rules and its published errors."""

import dataclasses
from collections.abc import Mapping
from typing import Literal, NamedTuple

from jaxcnn.models.network import Network
from jaxcnn.types import Option


class Rule(NamedTuple):
    r"""The names that some modules have in PyTorch, and in ours: one line of a variant's weight rules.

    `jaxcnn.weights.load` matches the path of each module of a file with all rules of the variant, and every path must
    come to one module of ours. What a tensor is called there follows from its own name (``weight``, ``bias``,
    ``running_mean``, ``running_var``, ``layer_scale``) and its number of dimensions.

    Outside its groups a pattern is literal text, or refers to a group, so that each of our modules has one name there
    again.

    Examples:
        >>> Rule(r"layer(\d)\.(\d+)\.conv(\d)", r"stage\1_block\2/conv\3").replacement
        'stage\\1_block\\2/conv\\3'
    """

    pattern: str
    """The regular expression that the whole path of the PyTorch module matches."""
    replacement: str
    r"""The path of our module, where ``\1`` stands for the first group of the pattern."""
    publisher: str | None = None
    """The publisher whose names these are; None where no publisher has other names."""
    kernel: Literal["dense", "convolution"] | None = None
    """What the module is in PyTorch where it is another layer than ours, which is of use to `jaxcnn.weights.theirs`: a
    dense layer over a flattened map for our convolution, or a 1x1 convolution for our dense layer."""


@dataclasses.dataclass(frozen=True)
class Published:
    """The errors that somebody else measured, in percent, and how they were measured. They are never ours."""

    top1_error: float | None
    top5_error: float | None
    protocol: str
    """The images, and how they were resized, cropped and averaged."""
    source: str
    """The paper, code or release that reports the errors."""


@dataclasses.dataclass(frozen=True)
class Variant:
    """One row of a family's table: a name, a module, and the arguments that make the module this variant."""

    name: str
    family: str
    module: type[Network]
    arguments: Mapping[str, Option]
    """The fields that the variant fixes; all other fields of the module are options of `create_model`."""
    input_size: int = 224
    """The height and width of the images that the variant is made for, in pixels."""
    channels: Literal[1, 3] = 3
    num_classes: int = 1000
    published: tuple[Published, ...] = ()
    """The errors that papers and other code report of this network. Those of weights that `load_pretrained` fetches by
    name are kept with the weights: `jaxcnn.weights.published.published_errors` joins both."""
    rules: tuple[Rule, ...] = ()
    """The weight rules; empty where nobody publishes weights of this network for PyTorch."""
