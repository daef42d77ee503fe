"""The entries of ILSVRC's classification task that were first and second in each year, as ``entries.json`` keeps them.

The errors are the official results of whole entries on the test set, most of them of several networks. They are not
ours.
"""

import dataclasses
import functools
import importlib.resources
import json
from typing import Literal


@dataclasses.dataclass(frozen=True)
class Entry:
    """An entry to ILSVRC's classification task."""

    year: int
    name: str
    """The name of the network that won, or of the team."""
    method: str
    kind: Literal["features", "network"]
    """Whether images are described by features that people designed, or by what networks learn."""
    top5_error: float
    """The top-5 error on the test set, in percent."""
    place: int
    source: str
    """The address of the official results."""
    read_at_source: bool
    """Whether the figure was read there; the others were read in tables that cite it."""
    network: str = ""
    """The name of our network that the entry consists of: one of ``jaxcnn.list_models()``, or nothing."""
    layers: int = 0
    """The number of layers of its deepest network as published, for a network that we do not have; 0 if unknown."""
    layers_source: str = ""
    """The source of this number."""


@functools.cache
def entries() -> tuple[Entry, ...]:
    """Returns all entries, by year and place."""
    text = (importlib.resources.files("jaxcnn.pictures.figures") / "entries.json").read_text()
    return tuple(Entry(**each) for each in json.loads(text))
