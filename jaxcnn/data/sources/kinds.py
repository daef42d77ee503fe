"""Kinds of data sets by name, ``KIND`` or ``KIND:REST``: what each registry of them has in common."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from jaxcnn.errors import UserError, nearest
from jaxcnn.paths import absolute
from jaxcnn.text import escaped

Request = TypeVar("Request")
Opened = TypeVar("Opened")


@dataclasses.dataclass(frozen=True)
class Kind(Generic[Request, Opened]):
    """A kind of data set."""

    open: Callable[[Request], Opened]
    """A function that opens one split."""
    splits: Callable[[str, str | None], Sequence[str]]
    """A function from what follows the colon, and ``data_dir``, to the names of the splits."""
    example: str
    """An example of a name, for messages."""
    sliced: bool
    """Whether a split may be something else than one of these names."""
    located: bool
    """Whether what follows the colon is a path."""


class Kinds(Generic[Request, Opened]):
    """The kinds of data sets that are registered.

    Args:
        called: what one of their data sets is called where a kind is taken already.
        sought: what it is called where a name is of no kind.
        way_out: the clause that leads out where a kind is taken.
    """

    def __init__(self, called: str, sought: str, way_out: str) -> None:
        self._called, self._sought, self._way_out = called, sought, way_out
        self._kinds: dict[str, Kind[Request, Opened]] = {}

    def add(self, name: str, kind: Kind[Request, Opened]) -> None:
        """Registers a kind.

        Raises:
            UserError: its name is not an identifier, or is registered already.
        """
        if not name.isidentifier():
            raise UserError(f"{name!r} cannot be a kind of data set: take an identifier, such as 'photographs'")
        if name in self._kinds:
            raise UserError(f"there is a kind of {self._called} named {name!r} already: {self._way_out}")
        self._kinds[name] = kind

    def names(self) -> list[str]:
        """Returns the names of the kinds, sorted."""
        return sorted(self._kinds)

    def find(self, name: str) -> tuple[Kind[Request, Opened], str]:
        """Returns a data set's kind, and what follows the colon in its name.

        Raises:
            UserError: there is no such kind.
        """
        kind, _, rest = name.partition(":")
        if kind not in self._kinds:
            examples = (each.example for each in self._kinds.values())
            raise UserError(f"{name!r} is not {self._sought}: {nearest(name, examples)}")
        return self._kinds[kind], rest

    def absolute(self, name: str) -> str:
        """Returns a data set's name that means the same in every working directory.

        Raises:
            UserError: there is no such kind.
        """
        kind, rest = self.find(name)
        return f"{name.partition(':')[0]}:{absolute(rest or '.')}" if kind.located else name

    def splits(self, name: str, data_dir: str | None) -> tuple[str, ...]:
        """Returns the names of a data set's splits, sorted.

        Raises:
            UserError: there is no such data set.
        """
        kind, rest = self.find(name)
        return tuple(sorted(kind.splits(rest, data_dir)))

    def with_split(self, name: str, split: str, data_dir: str | None) -> tuple[Kind[Request, Opened], str]:
        """Returns what `find` does, once the data set is known to have the split, unless its kind finds out itself.

        Raises:
            UserError: there is no such data set or split.
        """
        kind, rest = self.find(name)
        if not kind.sliced and split not in (names := self.splits(name, data_dir)):
            raise UserError(f"{escaped(name)} has no split {split!r}: {nearest(split, names)}")
        return kind, rest
