"""What differs between two compilations of the same network: in all, and by layer."""

import dataclasses
from collections.abc import Iterable, Sequence

from jaxcnn.laboratory.compile_rows import KernelRow, Program, Row, Totals, totals_by
from jaxcnn.laboratory.grid import OPTIONS

_NONE = Totals(bound=None, seconds=None)


@dataclasses.dataclass(frozen=True)
class Change:
    """The kernels of one layer, phase or kind in both programs."""

    name: str
    before: Totals
    after: Totals
    layout_before: int
    """The bytes that are moved by copies and transpositions alone."""
    layout_after: int

    @property
    def bytes(self) -> int:
        """The bytes that the second program moves more."""
        return self.after.bytes - self.before.bytes

    @property
    def is_one(self) -> bool:
        """Whether anything differs."""
        return (self.before.kernels, self.before.flops, self.before.bytes_read, self.before.bytes_written) != (
            self.after.kernels,
            self.after.flops,
            self.after.bytes_read,
            self.after.bytes_written,
        )


@dataclasses.dataclass(frozen=True)
class Changes:
    """What differs between two rows."""

    before: Row
    after: Row
    options: tuple[str, ...]
    """The names of the options that differ."""
    total: Change
    layers: tuple[Change, ...]
    """The layers that differ, those first whose bytes do so most."""
    phases: tuple[Change, ...]
    kinds: tuple[Change, ...]


def counterpart(row: Row, others: Iterable[Row]) -> Row | None:
    """Returns the row of another report that a row is compared with; None where there is none.

    It is that of the same point. Where there is none, it is the one of the same network that shares most options, if no
    other shares as many.
    """

    def shared(other: Row) -> int:
        return sum(getattr(other.point, name) == getattr(row.point, name) for name in OPTIONS)

    of_network = [other for other in others if other.point.network == row.point.network and other.program]
    best = sorted(of_network, key=shared, reverse=True)
    if not best or (len(best) > 1 and shared(best[0]) == shared(best[1])):
        return None
    return best[0]


def changes(before: Row, after: Row) -> Changes:
    """Returns what differs between two rows that both have programs."""
    assert before.program
    assert after.program
    old, new = before.program, after.program
    return Changes(
        before=before,
        after=after,
        options=tuple(name for name in OPTIONS if getattr(before.point, name) != getattr(after.point, name)),
        total=_change("in all", old.kernels, new.kernels),
        layers=tuple(sorted(_by(old, new, "layer"), key=lambda change: -abs(change.bytes))),
        phases=_by(old, new, "phase"),
        kinds=_by(old, new, "kind"),
    )


def _by(old: Program, new: Program, name: str) -> tuple[Change, ...]:
    def key(row: KernelRow) -> str:
        return getattr(row, name)

    values = totals_by(new.kernels, key) | totals_by(old.kernels, key)
    found = [
        _change(
            value, [row for row in old.kernels if key(row) == value], [row for row in new.kernels if key(row) == value]
        )
        for value in values
    ]
    return tuple(change for change in found if change.is_one)


def _change(name: str, old: Sequence[KernelRow], new: Sequence[KernelRow]) -> Change:
    def layout(rows: Sequence[KernelRow]) -> int:
        return Totals.of(row for row in rows if row.kind == "copy").bytes

    return Change(name, Totals.of(old) if old else _NONE, Totals.of(new) if new else _NONE, layout(old), layout(new))
