"""Results kept as small JSON files, and the document that is written from them."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import pydantic

from jaxcnn.errors import UserError

T = TypeVar("T")


def write_result(result: Any, path: Path) -> Path:
    """Writes a dataclass as JSON, in place of an older one; returns where.

    Raises:
        UserError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(dataclasses.asdict(result), indent=2) + "\n")
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from None
    return path


def read_results(folder: Path, kind: type[T]) -> dict[Path, T]:
    """Returns what `write_result` wrote into a folder, by file.

    Raises:
        UserError: a file there is none of this dataclass.
    """
    found = {}
    for path in sorted(folder.glob("*.json")):
        try:
            found[path] = pydantic.TypeAdapter(kind).validate_json(path.read_text())
        except (OSError, ValueError) as error:
            said = error.errors()[0]["msg"] if isinstance(error, pydantic.ValidationError) else error
            raise UserError(f"{path} is not a result of scripts/reproduce.py: {said}") from None
    return found


def in_percent(errors: dict[int, float], digits: int) -> str:
    """Returns top-k errors in one cell, ``23.870 / 7.140``; empty where there are none."""
    return " / ".join(f"{error:.{digits}f}" for _, error in sorted(errors.items()))


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """Returns a table in Markdown; the first row is its head."""
    head, *others = rows
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, ["---"] * len(head), *others))


def with_table(document: str, name: str, table: str) -> str:
    """Returns a document with a table between the two lines that are for it.

    Raises:
        UserError: it has not these two lines in this order.
    """
    begin, end = f"<!-- {name}: scripts/reproduce.py --tables writes from here -->\n", f"<!-- {name}: to here -->\n"
    before, found, rest = document.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found or not found_end:
        raise UserError(f"the document has no place for the table of {name}, between lines {begin!r} and {end!r}")
    return f"{before}{begin}\n{table}\n{end}{after}"
