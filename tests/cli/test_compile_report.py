"""The command compile-report, with rows that are made by hand in place of compiled ones."""

import dataclasses

import pytest

from jaxcnn.cli import compile_report as command
from jaxcnn.cli.main import main
from jaxcnn.laboratory.compile_rows import write_rows
from tests.laboratory.hand_made import CONVOLUTION, COPY, KERNEL, row

AFTER = row(dataclasses.replace(KERNEL, bytes_read=10), CONVOLUTION, notes=("a loop is counted once",))


@pytest.fixture
def rows(monkeypatch):
    """What is compiled, in place of it."""
    found = [AFTER]
    monkeypatch.setattr(command, "tasks_of", lambda *_, **__: found)
    monkeypatch.setattr(command, "report", lambda tasks, _: iter(tasks))
    return found


def test_it_prints_the_tables_of_each_point_and_what_its_figures_leave_out(rows, capsys):
    rows.append(dataclasses.replace(AFTER, program=None, error="it does not fit"))
    assert main(["compile-report", "toy"]) == 0
    said = capsys.readouterr().out
    assert "toy h100:8 b64 bfloat16: the layers that move most bytes" in said
    assert "\ntoy h100:8 b64 bfloat16: a loop is counted once\n" in said
    assert said.endswith("toy h100:8 b64 bfloat16: it does not fit\n")
    assert main(["compile-report", "toy", "--brief"]) == 0
    said = capsys.readouterr().out
    assert "layout MB" in said
    assert "the layers that move most bytes" not in said


def test_nothing_but_failures_is_a_failure(rows, capsys):
    rows[:] = [dataclasses.replace(AFTER, program=None, error="it does not fit")]
    assert main(["compile-report", "toy"]) == 1
    assert capsys.readouterr().out == "toy h100:8 b64 bfloat16: it does not fit\n"


def test_another_report_is_compared_with(rows, tmp_path, capsys):
    before = tmp_path / "before.json"
    write_rows(before, [row(KERNEL, CONVOLUTION, COPY)])
    assert main(["compile-report", "toy", "--against", str(before)]) == 0
    assert "against the same options: by layer" in capsys.readouterr().out
    write_rows(before, [])
    assert main(["compile-report", "toy", "--against", str(before)]) == 0
    assert "toy h100:8 b64 bfloat16: the other report has no row of these options" in capsys.readouterr().out


def test_it_draws_what_it_is_told_to(rows, tmp_path):
    pytest.importorskip("matplotlib")
    pictures = [tmp_path / "grid.png", tmp_path / "layers.png"]
    assert main(["compile-report", "toy", "--plot", str(pictures[0]), "--plot-layers", str(pictures[1])]) == 0
    assert all(path.stat().st_size > 5000 for path in pictures)


def test_it_stops_as_asked_between_two_points(rows, monkeypatch, capsys):
    class Stopped(command.StopRequest):
        def __call__(self):
            return True

    monkeypatch.setattr(command, "StopRequest", Stopped)
    rows.append(AFTER)
    assert main(["compile-report", "toy", "--json", "r.json"]) == 75
    assert capsys.readouterr().out == (
        "stopped as asked after 1 of 2 points: what is done is saved in r.json; the same command goes on\n"
    )
    del rows[1]
    assert main(["compile-report", "toy", "--brief"]) == 0  # the last point was done


def test_it_lists_the_topologies(capsys):
    assert main(["compile-report", "--topology", "list"]) == 0
    assert {"h100:8", "v5e:2x2"} <= {line.split()[0] for line in capsys.readouterr().out.splitlines()}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "error: no network is named: name one that `jaxcnn models` lists"),
        (("resnet5",), "error: there is no model or recipe 'resnet5': did you mean 'resnet50'"),
        (("lenet", "--against", "nope.json"), "error: the report nope.json cannot be read: No such file"),
        (("lenet", "--plot", "a.doc"), "error: the picture a.doc has no name of a format that can be drawn"),
        (("lenet", "--topology", "v0"), "error: there is no machine 'v0' to compile for"),
        (("lenet", "--batch", "0"), "error: --batch 0 is no number of images"),
        (("lenet", "--wrapper", "vmap"), "--wrapper"),
    ],
)
def test_mistakes_are_answered_in_a_sentence(arguments, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    if "--plot" in arguments:
        pytest.importorskip("matplotlib")
    with pytest.raises(SystemExit) as stopped:  # as tyro does where it finds the mistake
        raise SystemExit(main(["compile-report", *arguments]))
    assert stopped.value.code == 2
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
