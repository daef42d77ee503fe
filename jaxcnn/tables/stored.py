"""Measured results, each kept in a small JSON file, and the document whose tables are written from them."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pydantic

from jaxcnn import strict_json
from jaxcnn.errors import UserError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")


def write_result(result: "DataclassInstance", path: Path) -> Path:
    """Writes a dataclass as JSON in place of an older one, and returns the path.

    Raises:
        UserError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(strict_json.dumps(dataclasses.asdict(result), indent=2) + "\n")
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from None
    return path


def read_results(folder: Path, kind: type[T]) -> dict[Path, T]:
    """Returns what `write_result` wrote to a folder, by file.

    Raises:
        UserError: a file there holds something else than this dataclass.
    """
    found = {}
    for path in sorted(folder.glob("*.json")):
        try:
            found[path] = pydantic.TypeAdapter(kind).validate_json(path.read_text())
        except (OSError, ValueError) as error:
            said = error.errors()[0]["msg"] if isinstance(error, pydantic.ValidationError) else error
            raise UserError(f"{path} is not a result of `jaxcnn reproduce`: {said}") from None
    return found


def in_percent(errors: dict[int, float], digits: int) -> str:
    """Returns top-k errors as the text of one cell, ``23.870 / 7.140``; it is empty where there are none."""
    return " / ".join(f"{error:.{digits}f}" for _, error in sorted(errors.items()))


def markdown(rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> str:
    """Returns a table in Markdown.

    Args:
        rows: the rows, the first of which is the head.
        right: the numbers of the columns, from 0, whose cells are set to the right.
    """
    head, *others = rows
    rule = ["---:" if number in right else "---" for number in range(len(head))]
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, rule, *others))


def with_table(
    document: str, name: str, table: str, command: str = "jaxcnn reproduce --tables", where: str = "the document"
) -> str:
    """Returns the document with the table between the two lines that are for it.

    Args:
        document: the text.
        name: the name of the table, which the two lines begin with.
        table: the table.
        command: the command that writes it, which the first line names.
        where: what the error calls the document.

    Raises:
        UserError: the document does not have these two lines in this order.
    """
    begin, end = f"<!-- {name}: {command} writes from here -->\n", f"<!-- {name}: to here -->\n"
    before, found, rest = document.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found or not found_end:
        raise UserError(f"{where} has no place for the table of {name}, between lines {begin!r} and {end!r}")
    return f"{before}{begin}\n{table}\n{end}{after}"


def write_tables(document: Path, tables: Mapping[str, str], command: str = "jaxcnn reproduce --tables") -> None:
    """Writes tables into a document, each between the two lines that are for it.

    Args:
        document: the file.
        tables: the tables, by name.
        command: the command that writes them, which the lines name.

    Raises:
        UserError: the file cannot be read and written, or lacks the lines of a table.
    """
    try:
        text = document.read_text()
        for name, table in tables.items():
            text = with_table(text, name, table, command, str(document))
        document.write_text(text)
    except OSError as error:
        raise UserError(f"{document} cannot be read and written: {error.strerror}") from None
