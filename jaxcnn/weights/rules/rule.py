"""What a rule is: one line of a family's table."""

from typing import NamedTuple


class Rule(NamedTuple):
    """Where the tensors of PyTorch modules go."""

    pattern: str
    """A regular expression for the module's path."""
    replacement: str
    """Our module's path, with the groups of the pattern."""
