from typing import NamedTuple

import pytest

from jaxcnn.errors import UserError
from jaxcnn.pictures.compile_report import plot_bars
from jaxcnn.pictures.pyplot import check_picture


class Panel(NamedTuple):
    title: str
    labels: tuple[str, ...]
    parts: dict[str, list[float]]


def test_panels_are_a_picture(tmp_path):
    pytest.importorskip("matplotlib")
    panel = Panel("of $ and bytes", ("one $", "two\nlines"), {"a": [1.0, 2.0], "b": [0.0, 3.0]})
    plot_bars("title", [panel] * 2, tmp_path / "two.svg")
    assert "of $ and bytes" in (tmp_path / "two.svg").read_text()


def test_a_picture_that_cannot_be_drawn_is_refused_at_once(tmp_path):
    pytest.importorskip("matplotlib")
    check_picture(tmp_path / "a.SVG")
    with pytest.raises(UserError, match=r"the picture .*a\.doc has no name of a format that can be drawn: end it in"):
        check_picture(tmp_path / "a.doc")
    with pytest.raises(UserError, match=r"nowhere/a.png cannot be written, because there is no folder .*: make it fi"):
        check_picture(tmp_path / "nowhere" / "a.png")
