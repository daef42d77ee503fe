"""Finds a network's state dict in whatever holds it: under any key, under wrappers' prefixes, beside other things.

A training script saves its network as ``{"model": ..., "model_ema": ..., "epoch": 3}``, under names of its own choice,
and classes that wrap a network put a prefix before its names. What the names mean is known from the network's weight
rules, so these decide: the state dict that fills most of the network is taken, whatever it is called.
"""

import collections
import fnmatch
import logging
import re
from collections.abc import Callable, Collection, Generator, Iterable, Mapping
from typing import NamedTuple, TypeAlias

import numpy as np

from jaxcnn.types import PyTree
from jaxcnn.weights.errors import FileError, shown

_LOG = logging.getLogger(__name__)

WRAPPERS = frozenset(
    {
        "module",  # DataParallel, DistributedDataParallel and AveragedModel
        "_orig_mod",  # torch.compile
        "model",  # the attribute in which most training scripts and Lightning modules keep their network
        "_fsdp_wrapped_module",
        "_checkpoint_wrapped_module",
        "_forward_module",  # Fabric
        "_model",
    }
)
"""The parts of a name that are the attribute of a class that wraps a module, and so say nothing of the module."""
_AVERAGED = frozenset({"ema", "swa", "average", "averaged", "avg", "polyak", "shadow", "smoothed"})
"""The words that the key of averaged weights has among its own."""
_PLAIN = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "weights", "params", "module")
"""The usual keys of weights that are not averaged, in the order in which they are taken."""
_COUNTER = "n_averaged"
"""The end of the name of the tensor that counts what AveragedModel has averaged."""
_DEPTH = 5
"""The number of keys that may lead to a state dict."""
_SEQUENCE = 16
"""The number of items of a list that is looked into."""
_LONGEST_PREFIX = 4
"""The number of parts that a prefix may have besides wrappers'."""
LONGEST_NAME = 256
"""The number of characters that a tensor's name may have."""


PathsOf: TypeAlias = Callable[[str, int], set[str]]
"""A function from a tensor's name and its number of dimensions to the paths that it may have in a network."""


class _Held(NamedTuple):
    """A dictionary that may be a state dict."""

    where: str
    """The keys that lead to it, joined by dots; empty for the whole."""
    tensors: dict[str, PyTree]
    ignored: list[str]
    """The names of the tensors that are left out."""
    others: list[str]
    """The keys of what is no tensor."""


class _Candidate(NamedTuple):
    """Tensors that may be the network: those of a dictionary that are below one prefix."""

    where: str
    """The keys and the prefix that lead to them, joined by dots; empty for the whole."""
    names: dict[str, str]
    """The name of each tensor in the dictionary, by its name in the network."""
    fills: int
    """The number of the network's variables that they fill."""
    held: _Held

    @property
    def rank(self) -> tuple[int, bool, int]:
        """The order in which candidates are taken: by what they fill, then averaged, then by the usual keys."""
        words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+", self.where)
        last = self.where.rpartition(".")[2]
        is_plain = _AVERAGED.isdisjoint(word.lower() for word in words)
        return -self.fills, is_plain, _PLAIN.index(last) if last in _PLAIN else len(_PLAIN)

    @property
    def shown(self) -> str:
        return ascii(self.where[:80]) if self.where else "the dictionary itself"


def _no_paths(name: str, dimensions: int) -> set[str]:
    return set()


def find_state(
    tree: PyTree, paths_of: PathsOf = _no_paths, wanted: Collection[str] = (), ignore: Iterable[str] = ()
) -> dict[str, PyTree]:
    """Finds the state dict of a network, and takes the prefixes of wrappers off its names.

    Every dictionary with more tensors than other things may be a state dict, and so may the tensors below a common
    prefix in it. Those that fill most of the network are taken; where several fill as much, averaged weights come
    first, then those under a usual key. The logger says at level INFO which are taken and what is passed over.

    Args:
        tree: what a file or a mapping holds: dictionaries, lists and tuples of tensors and of anything else. A tensor
            is what has a shape.
        paths_of: the network's weight rules. Without them all prefixes but wrappers' stay.
        wanted: the paths of the network's variables.
        ignore: patterns of the names that are left out, as they are or with the keys that lead to them:
            ``model_ema.*``. See `is_ignored`.

    Returns:
        The tensors by their names without prefixes. Those that no rule knows are among them.

    Raises:
        FileError: there is no state dict, or a name is not one of a tensor.
    """
    ignore = tuple(ignore)
    dictionaries = list(_dictionaries(tree, ignore))
    if not dictionaries:
        nameless = isinstance(tree, Mapping) and any(
            _is_tensor(value) for key, value in tree.items() if not isinstance(key, str)
        )
        raise FileError(f"holds {'tensors without names' if nameless else 'no state dict'}: save model.state_dict()")
    candidates = [each for held in dictionaries for each in _candidates(held, paths_of, wanted)]
    taken = min(candidates, key=lambda candidate: candidate.rank)
    copies = [each for each in candidates if each is not taken and each.fills >= max(1, taken.fills // 2)]
    if taken.where or copies:
        others = f", and not {', '.join(each.shown for each in copies[:3])}" if copies else ""
        _LOG.info("the weights under %s are taken%s", taken.shown, others)
    if taken.held.others:
        _LOG.info("passed over beside the weights, as no tensors: %s", listing(list(map(shown, taken.held.others))))
    state = {name: taken.held.tensors[theirs] for name, theirs in taken.names.items()}
    # A whole copy of the network is one of the choices; everything else in the dictionary must have its place.
    placed = set(taken.names.values()).union(*(each.names.values() for each in copies if each.fills == taken.fills))
    rest = [theirs for theirs in taken.held.tensors if theirs not in placed and not theirs.endswith(_COUNTER)]
    numbers = collections.Counter(map(_without_wrappers, [*rest, *state]))
    for theirs in rest:
        name = _without_wrappers(theirs)
        state[name if numbers[name] == 1 else theirs] = taken.held.tensors[theirs]
    left_out = [name for name in state if is_ignored(name, ignore)]
    left_out += [name for name in taken.held.ignored if name not in left_out]
    if left_out:
        _LOG.info("left out of the weights as --ignore asks: %s", listing(left_out))
    return {name: tensor for name, tensor in state.items() if name not in left_out}


def is_ignored(name: str, patterns: Iterable[str]) -> bool:
    """Returns whether a name is left out: some pattern matches the whole of it, or has no dot and matches a part.

    Examples:
        >>> is_ignored("layer1.0.total_ops", ["total_*"]), is_ignored("layer1.0.conv1.weight", ["conv1.*"])
        (True, False)
    """
    parts = re.split(r"[./]", name)
    return any(
        fnmatch.fnmatchcase(name, pattern)
        or (not re.search(r"[./]", pattern) and any(fnmatch.fnmatchcase(part, pattern) for part in parts))
        for pattern in patterns
    )


def listing(names: Collection[str]) -> str:
    """Returns the first five names and the number of the others."""
    shown = ", ".join(list(names)[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"


def _is_tensor(value: object) -> bool:
    return hasattr(value, "shape") and not isinstance(value, np.generic)


def _dictionaries(tree: PyTree, ignore: tuple[str, ...]) -> Generator[_Held]:
    """Yields all dictionaries with more tensors than other things, the outer ones first."""
    seen: dict[int, PyTree] = {}
    queue: collections.deque[tuple[tuple[str, ...], PyTree]] = collections.deque([((), tree)])
    while queue:
        where, node = queue.popleft()
        if id(node) in seen:
            continue
        seen[id(node)] = node  # a file may hold itself, or one list a thousand times
        items: list[tuple[str, PyTree]] = []
        if isinstance(node, Mapping):
            items = [(key, value) for key, value in node.items() if isinstance(key, str)]
            tensors = {name: value for name, value in items if _is_tensor(value)}
            if 2 * len(tensors) > len(node):
                _check(tensors)
                # With its keys a name may be ignored too, so that one can choose among several state dicts.
                ignored = {
                    name for name in tensors if is_ignored(name, ignore) or is_ignored(".".join((*where, name)), ignore)
                }
                kept = {name: value for name, value in tensors.items() if name not in ignored}
                if kept:
                    others = [str(key) for key in node if key not in tensors]
                    yield _Held(".".join(where), kept, sorted(ignored), others)
        elif isinstance(node, list | tuple) and len(node) <= _SEQUENCE:
            items = [(str(index), value) for index, value in enumerate(node)]
        if len(where) < _DEPTH:
            queue.extend(((*where, key), value) for key, value in items if isinstance(value, Mapping | list | tuple))


def _candidates(held: _Held, paths_of: PathsOf, wanted: Collection[str]) -> Generator[_Candidate]:
    """Yields what a dictionary holds without any prefix, and what it holds of the network below each prefix.

    A prefix counts if what is below it fills half of the network: names like ``conv1.weight`` are the end of others.
    """
    groups: dict[str, dict[str, str]] = {"": {}}
    for theirs, tensor in held.tensors.items():
        found = _split(theirs, len(tensor.shape), paths_of)
        if found:
            prefix, name = found
            group = groups.setdefault(prefix, {})
            if name == theirs or name not in group:
                group[name] = theirs
    for prefix, names in groups.items():
        paths = (paths_of(name, len(held.tensors[theirs].shape)) for name, theirs in names.items())
        fills = len({path for each in paths for path in each if path in wanted})
        if not prefix or 2 * fills >= len(wanted):
            yield _Candidate(".".join(filter(None, (held.where, prefix))), names, fills, held)


def _split(theirs: str, dimensions: int, paths_of: PathsOf) -> tuple[str, str] | None:
    """Returns the shortest prefix of a name, without wrappers, after which the rules know it; None if they never do."""
    parts = theirs.split(".")
    found: list[tuple[int, str, str]] = []
    # A wrapper is left where the rules know it as a part of the network's own.
    for rest in (parts, [part for part in parts if part not in WRAPPERS]):
        for cut in range(len(rest)):
            prefix = [part for part in rest[:cut] if part not in WRAPPERS]
            if len(prefix) > _LONGEST_PREFIX:
                break
            name = ".".join(rest[cut:])
            if paths_of(name, dimensions):
                found.append((len(prefix), ".".join(prefix), name))
                break
        if found and not found[0][0]:
            break
    return min(found, key=lambda each: each[0])[1:] if found else None


def _without_wrappers(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in WRAPPERS) or name


def _check(names: Iterable[str]) -> None:
    for name in names:
        if not name.isprintable() or len(name) > LONGEST_NAME:
            raise FileError(f"holds a tensor of the name {shown(name)}, which no module has: do not trust it")
