"""Text that others wrote: it is shown as it is, escaped where it must be, and never taken for markup."""

import ast
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rich.console
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import jaxcnn
from jaxcnn import runs
from jaxcnn.cli.main import main
from jaxcnn.cli.shared import console
from jaxcnn.config import ConfigError, DataConfig, ModelConfig, Normalization, Resize, TrainConfig, to_json
from jaxcnn.text import escaped, escaping_streams, say

ROOT = Path(jaxcnn.__file__).parent
NOT_UTF8 = os.fsdecode(b"br\xf6ken")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("größer 猫.jpg", "größer 猫.jpg"),
        ("[/b] [old] :smile: \\x", "[/b] [old] :smile: \\x"),
        (NOT_UTF8, r"br\xf6ken"),
        ("\ud800", r"\ud800"),
        ("a\nb\tc\r", r"a\nb\tc\r"),
        ("\x1b[2J\x07", r"\x1b[2J\x07"),
        ("photo\u202egpj.exe", r"photo\u202egpj.exe"),
        ("a\u00a0b\u3000c", "a\u00a0b\u3000c"),
        ("\u2028", r"\u2028"),
        ("👩\u200d🔬", "👩\u200d🔬"),
    ],
)
def test_what_is_escaped(text, shown):
    assert escaped(text) == shown
    assert escaped(shown) == shown


@given(st.binary(max_size=30))
def test_any_files_name_can_be_encoded_in_one_line(name):
    shown = escaped(os.fsdecode(name))
    shown.encode()
    assert len(shown.splitlines()) <= 1


@pytest.mark.parametrize("text", ["[/b] of [old]", "[link=x]", ":smile:", "a [red]b[/red]", "[/]", NOT_UTF8])
def test_text_is_never_markup(text, capsys):
    for settings in ({}, {"markup": False}):
        file = io.StringIO()
        say(rich.console.Console(file=file, width=20, **settings), f"{text} {'long ' * 20}")
        assert file.getvalue() == f"{escaped(text)} {'long ' * 20}\n"
    table = rich.table.Table("[b]class[/b]", title=escaped(text))
    table.add_row(escaped(text))
    console().print(table)
    printed = capsys.readouterr().out
    assert printed.count(escaped(text)) == 2
    assert "[b]class[/b]" in printed


def test_every_console_is_told_that_text_is_no_markup():
    """Whoever makes a console or a text column elsewhere must say so too."""
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            name = ast.unparse(node.func).rpartition(".")[2] if isinstance(node, ast.Call) else ""
            if name in ("Console", "TextColumn"):
                said = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                assert said.get("markup") == "False", f"{path}: {ast.unparse(node)}"
            assert name not in ("from_markup", "render_markup"), path


def test_streams_escape_what_they_cannot_encode():
    code = (
        "import os, sys; from jaxcnn.text import escaping_streams\n"
        "with escaping_streams():\n"
        "    for stream in (sys.stdout, sys.stderr): print(os.fsdecode(b'br\\xf6'), '\\u732b \\xfc', file=stream)\n"
    )
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": str(ROOT.parent)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment, check=True)
    assert done.stdout == done.stderr == b"br\\xf6 \\u732b \\xfc\n"


def test_streams_are_left_as_they_were(capfd):
    before = sys.stdout.errors, sys.stderr.errors
    with escaping_streams():
        print(NOT_UTF8)
    assert (sys.stdout.errors, sys.stderr.errors) == before
    assert capfd.readouterr().out == "br\\xf6ken\n"


def test_a_name_that_cannot_be_stored_is_refused_before_there_is_a_folder(tmp_path):
    folder = Path(tmp_path, NOT_UTF8)
    for split in ("train", "val"):
        for name in ("ant", "bee"):
            (folder / split / name).mkdir(parents=True)
            Image.fromarray(np.zeros((8, 8), np.uint8)).save(folder / split / name / "1.png")
    crop = Resize(size=32)
    data = DataConfig(name=f"folder:{folder}", channels=1, train_crop=crop, evaluation_crop=crop, batch_size=8)
    grey = Normalization(mean=(0.5,), std=(0.25,))
    config = TrainConfig(name="x", model=ModelConfig(name="lenet"), data=data, normalization=grey)
    with pytest.raises(
        ConfigError, match=r"data.name is folder:.*br\\xf6ken, which is not UTF-8 .*: rename it, or make"
    ):
        to_json(config)
    with pytest.raises(ConfigError, match=r"br\\xf6ken, which is not UTF-8"):
        runs.train(config, tmp_path / "run", console=rich.console.Console(quiet=True))
    assert not (tmp_path / "run").exists()


def test_predict_shows_the_names_it_was_given(tmp_path, monkeypatch, capsys):
    asked = []

    class Network:
        def predict_each(self, paths, top_k, *, upright):
            asked.extend(paths)
            return iter([[("[old] class", 0.75), ("[/b]", 0.25)] for _ in paths])

    monkeypatch.setattr("jaxcnn.loading.load", lambda *arguments, **options: Network())
    paths = ["[/b]/[old].jpg", f"{'deep/' * 30}[red]x[/red].jpg", f"{NOT_UTF8}.jpg"]
    assert main(["predict", *paths, "--model", "runs/a"]) == 0
    printed = capsys.readouterr().out
    for path in paths:
        assert escaped(path) in printed
    assert printed.count("[old] class") == printed.count("[/b] ") == 3
    assert list(map(str, asked)) == paths


@pytest.mark.slow
def test_a_run_says_and_logs_foreign_names(tmp_path, capsys):
    """Training, evaluation and prediction on classes and files with names of every sort."""
    root = tmp_path / "x[" / "b] [old]"  # the path holds the end of a markup that never began
    for split in ("train", "val"):
        for label, name in enumerate((b"[bold]", b"k\xe4fer")):
            folder = os.path.join(os.fsencode(root), split.encode(), name)
            os.makedirs(folder)
            for index in range(6):
                pixels = np.full((32, 32), 100 * label + index, np.uint8)
                Image.fromarray(pixels).save(os.fsdecode(os.path.join(folder, b"[b]\xf6%d.png" % index)))
    with open(os.path.join(os.fsencode(root), b"val", b"[bold]", b"[i]\xf6.png"), "wb") as file:
        file.write(b"no picture")
    data = ("--data.name", f"folder:{root}", "--data.batch-size", "8", "--data.max-bad-share", "0.5")
    run = tmp_path / "[run]"
    training = ("--workdir", str(run), "--epochs", "2", "--evaluation.top-k", "1")
    assert main(["train", *data, *training, "--optimizer.schedule.warmup-epochs", "0"]) == 0
    printed = capsys.readouterr().out
    assert f"data.name = folder:{root}" in printed
    assert f"left out of folder:{root}, split 'val': {root}/val/[bold]/[i]\\xf6.png (is not an image)" in printed
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    (start,) = [line for line in lines if line["kind"] == "start"]
    assert start["class_names"] == ["[bold]", r"k\xe4fer"]
    (bad,) = [line for line in lines if line["kind"] == "bad_files"]
    assert bad["files"] == [{"file": f"{root}/val/[bold]/[i]\\xf6.png", "reason": "is not an image"}]
    assert main(["evaluate", str(run), "--top-k", "1", "--details", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.splitlines()[0].startswith(printed.splitlines()[-1].partition(" %")[0])
    report = json.loads((tmp_path / "out" / "result.json").read_text())
    assert [each["class"] for each in report["classes"]] == ["[bold]", r"k\xe4fer"]
    photo = os.fsdecode(os.path.join(os.fsencode(root), b"val", b"k\xe4fer", b"[b]\xf60.png"))
    assert main(["predict", photo, "--model", str(run), "--top-k", "2"]) == 0
    printed = capsys.readouterr().out
    assert main(["predict", photo, "--model", str(run), "--max-pixels", "1023"]) == 2
    assert r"[b]\xf60.png claims 32 by 32 pixels, more than max_pixels=1023 allows" in capsys.readouterr().err
    assert f"{root}/val/k\\xe4fer/[b]\\xf60.png" in printed
    assert "[bold]" in printed
    assert r"k\xe4fer" in printed
