"""Variables under the names and in the layouts of PyTorch: what `jaxcnn.weights.load` reads, the other way round.

A variant's weight rules say both ways. A rule's pattern is literal text and groups, and its replacement says where the
groups stand in our path, so the path gives the groups and these give the name. Every name that is found so is read
again by all rules of the variant, and must come to its path.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Literal, NamedTuple

import numpy as np
from jax.typing import ArrayLike

from jaxcnn.models.variant import Rule, Variant
from jaxcnn.weights.errors import WeightsError
from jaxcnn.weights.layouts import separated
from jaxcnn.weights.load import renaming

Publisher = Literal["torchvision", "timm"]
COUNTER = "num_batches_tracked"
"""The tensor of PyTorch's batch normalization that counts its steps; ours has none."""
_PART = re.compile(r"\\([.\d])|(\((?:[^()\\]|\\.)*\))|([\w/ -])")
"""One part of a pattern or of a replacement: a dot or a reference, a group, or a literal character."""


class Place(NamedTuple):
    """Where one variable goes."""

    name: str
    """The name of the tensor."""
    kernel: Literal["dense", "convolution"] | None
    """As in `Rule`."""


def state_dict(variables: Mapping[str, ArrayLike], variant: Variant, publisher: Publisher) -> dict[str, np.ndarray]:
    """Returns a network's variables as the state dict of the same network in PyTorch.

    Args:
        variables: the variables by their paths, in either layout of `jaxcnn.weights.layouts`.
        variant: the network, whose weight rules are followed.
        publisher: the publisher whose names are given.

    Returns:
        Arrays of the variables' types, in the order of the paths: kernels as OIHW and OI, and for each batch
        normalization, besides what we have of it, the counter of its steps, which is 0.

    Raises:
        WeightsError: the variant has no weight rules, or none for some variable, or several.
    """
    arrays = {path: np.asarray(array) for path, array in separated(variables).items()}
    place_of = places(variant, publisher)
    state: dict[str, np.ndarray] = {}
    for path, array in arrays.items():
        place = place_of(path, array.ndim)
        state[place.name] = np.ascontiguousarray(arranged(array, place))
        if place.name.endswith(".running_var"):
            state[place.name.removesuffix("running_var") + COUNTER] = np.zeros((), np.int64)
    return state


def places(variant: Variant, publisher: Publisher) -> Callable[[str, int], Place]:
    """Returns the function from a variable's path and its number of dimensions to its place in PyTorch's network.

    Raises:
        WeightsError: the variant has no weight rules, or one of them cannot be turned round.
    """
    forward = renaming(variant.rules)
    if forward is None:
        raise WeightsError(
            f"there is no {variant.name} of others whose names its weights could take: write them under our names, "
            "with --names jaxcnn"
        )
    inverse = [_inverse(rule) for rule in variant.rules if rule.publisher in (None, publisher)]

    def place_of(path: str, dimensions: int) -> Place:
        module, tensor = _tensor(path, publisher)
        found = [Place(f"{name}.{tensor}", kernel) for names, kernel in inverse for name in names(module)]
        if len(found) == 1 and forward(found[0].name, max(1, dimensions)) == {path}:
            return found[0]
        what = f"several: {', '.join(each.name for each in found)}" if found else "none"
        raise WeightsError(
            f"the weight rules of {variant.name} must give {path} one name of {publisher}'s, and give it {what}: mend "
            "them, or write our names with --names jaxcnn"
        )

    return place_of


def arranged(array: np.ndarray, place: Place) -> np.ndarray:
    """Turns HWIO to OIHW, IO to OI, a convolution to a dense layer over CHW, and a dense layer to a 1x1 convolution."""
    match array.ndim, place.kernel:
        case 4, "dense":
            return array.transpose(3, 2, 0, 1).reshape(array.shape[3], -1)
        case 4, _:
            return array.transpose(3, 2, 0, 1)
        case 2, "convolution":
            return array.T[:, :, None, None]
        case 2, _:
            return array.T
        case 1, _ if place.name.endswith(".layer_scale"):
            return array[:, None, None]
    return array


def _tensor(path: str, publisher: Publisher) -> tuple[str, str]:
    """Returns the path of a variable's module, and what PyTorch calls the variable in it."""
    collection, _, rest = path.partition("/")
    module, _, leaf = rest.rpartition("/")
    if module.endswith("/layer_scale"):
        return module.removesuffix("/layer_scale"), "layer_scale" if publisher == "torchvision" else "gamma"
    if collection == "batch_stats":
        return module, f"running_{leaf}"
    return module, "bias" if leaf == "bias" else "weight"


def _inverse(rule: Rule) -> tuple[Callable[[str], Iterable[str]], Literal["dense", "convolution"] | None]:
    """Returns the function from the path of our module to its name by one rule, and the rule's kind of kernel."""
    groups = [part for part in _parts(rule, rule.pattern) if part.startswith("(")]
    template, numbers = "", iter(range(1, len(groups) + 1))
    for part in _parts(rule, rule.pattern):
        template += f"\\{next(numbers)}" if part.startswith("(") else part if re.fullmatch(r"\\\d", part) else part[-1]
    ours, seen = "", []
    for part in _parts(rule, rule.replacement):
        if not (reference := re.fullmatch(r"\\(\d)", part)):
            ours += re.escape(part[-1])
            continue
        number = int(reference[1])
        ours += f"(?P=g{number})" if number in seen else f"(?P<g{number}>{groups[number - 1][1:-1]})"
        seen.append(number)
    if sorted(set(seen)) != list(range(1, len(groups) + 1)):
        raise _cannot(rule)
    # The groups of the path stand in its own order, so they are put in by name.
    template = re.sub(r"\\(\d)", r"\\g<g\1>", template)
    pattern = re.compile(ours)

    def names(module: str) -> Iterable[str]:
        match = pattern.fullmatch(module)
        return [match.expand(template)] if match else []

    return names, rule.kernel


def _parts(rule: Rule, text: str) -> list[str]:
    """Returns the parts of a pattern or of a replacement."""
    parts = [match[0] for match in _PART.finditer(text)]
    if "".join(parts) != text:
        raise _cannot(rule)
    return parts


def _cannot(rule: Rule) -> WeightsError:
    return WeightsError(
        f"the weight rule {tuple(rule[:2])} cannot be turned round: let its pattern be groups and literal text, and "
        "its replacement use every group"
    )
