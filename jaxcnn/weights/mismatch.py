"""Says in a sentence where the names of weights and of a network differ, and what to do about it."""

import difflib
import re
from collections.abc import Sequence

from jaxcnn.weights.state_dicts import is_ignored, listing

_NAMED = 5
"""The number of names for which the nearest of the network is looked up."""
_LIKE = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}
"""The name that PyTorch has for a tensor, by ours."""


def sentence(unknown: Sequence[str], missing: Sequence[str], placed: Sequence[str]) -> str:
    """Returns the message for weights that do not fit a network.

    Args:
        unknown: the names of the tensors that have no place in the network.
        missing: the paths of the variables that no tensor fills.
        placed: the names of the other tensors.
    """
    if not missing:
        return (
            f"these weights fill the network and hold more: it has no variable for {listing(unknown)}; check the "
            f"network's name and options, or leave the tensors out with {_patterns(unknown, placed)}"
        )
    clauses = [f"nothing in them fills {listing(missing)}"]
    near = []
    if unknown:
        clauses.insert(0, f"it has no variable for {listing(unknown)}")
        near = _nearest(unknown[:_NAMED], missing)
    hint = f"; the nearest names are {', '.join(near)}" if near else ""
    return f"these are weights of another network: {', and '.join(clauses)}; check the network's name and options{hint}"


def _nearest(unknown: Sequence[str], missing: Sequence[str]) -> list[str]:
    by_name = {_normal(path): path for path in missing}
    near = {name: difflib.get_close_matches(_normal(name), by_name, n=1, cutoff=0.5) for name in unknown}
    return [f"{name} and {by_name[found[0]]}" for name, found in near.items() if found]


def _normal(name: str) -> str:
    """Returns a name of ours or of PyTorch in a form in which alike names look alike."""
    parts = re.split(r"[./]", name.removeprefix("params/").removeprefix("batch_stats/"))
    return ".".join([*parts[:-1], _LIKE.get(parts[-1], parts[-1])])


def _patterns(unknown: Sequence[str], placed: Sequence[str]) -> str:
    """Returns the options that leave these tensors out and none of the others, where a few patterns do."""
    patterns = sorted({re.split(r"[./]", name)[-1] for name in unknown})
    if len(patterns) > 3 or any(is_ignored(name, patterns) for name in placed):
        patterns = sorted(unknown) if len(unknown) <= 3 else ["PATTERN"]
    return " ".join(f"--ignore {pattern}" for pattern in patterns)
