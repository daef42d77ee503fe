"""The scripts, as a person runs them."""

import importlib.util
import json
import logging
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from PIL import Image

from jaxcnn.errors import run_script
from jaxcnn.runs import load_config
from jaxcnn.tables.reproduction import Reproduction
from jaxcnn.trials.interruption import interrupt_repeatedly
from jaxcnn.weights import load

ROOT = Path(__file__).parent.parent
SCRIPTS = ROOT / "scripts"
TINY = str(Path(__file__).parent / "recipes" / "tiny.py")


def script(name, *arguments, folder=None):
    command = [sys.executable, str(SCRIPTS / f"{name}.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=300)


def script_here(monkeypatch, name, *arguments):
    """Runs a script in this process, because a new one imports for seconds; returns its exit code."""
    specification = importlib.util.spec_from_file_location(f"script_{name}", SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    monkeypatch.setitem(sys.modules, specification.name, module)
    specification.loader.exec_module(module)
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    log = logging.getLogger("jaxcnn")
    for attribute, value in {"handlers": [], "level": log.level, "propagate": log.propagate}.items():
        monkeypatch.setattr(log, attribute, value)
    return run_script(module.main)


def test_train_evaluate_predict(tmp_path):
    trained = script("train", TINY, "--epochs", "0.6", "--workdir", "run", folder=tmp_path)
    assert trained.returncode == 0, trained.stderr
    assert trained.stderr == ""
    last = trained.stdout.splitlines()[-1]
    assert re.fullmatch(r"top-1 error \d+\.\d\d %  top-5 error \d+\.\d\d %  \(360 images\)", last)
    assert "epochs = 0.6" in trained.stdout
    # The model is registered by the recipe, so the scripts that only load a run do not know it.
    unknown = script("evaluate", "run", folder=tmp_path)
    assert unknown.returncode == 2
    assert unknown.stderr.startswith("error: there is no model 'tiny'")


@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_interrupted_at_random_moments_a_run_ends_in_the_same_bits(tmp_path, number):
    load_config(Path(TINY))  # registers its model here too, where the final states are read
    outcome = interrupt_repeatedly([str(SCRIPTS / "train.py"), TINY], tmp_path / "runs", kills=2, number=number, seed=3)
    assert outcome.kills == 2
    assert outcome.finished_runs >= 1
    assert not outcome.differing


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("train", "nope.py"), "error: there is no recipe or run folder nope.py"),
        (("train", "--model.name", "lenett"), "error: there is no model 'lenett': did you mean 'lenet'"),
        (("train", "--data.batch-sise", "3"), "--data.batch-size"),
        (("train", "--data.batch-size", "x"), "--data.batch-size"),
        (("train", "--data.batch-size=-3"), "batch_size must be greater than 0, not -3"),
        (("train", "--optimizer.schedule.kind", "cosin"), "cosine"),
        (("train", "--topology", "v5e:2x2"), "error: --topology names devices that are compiled for, and not trained"),
        (("train", "--dry-run", "--topology", "v0"), "error: there is no TPU topology 'v0' to compile for: name one"),
        (("evaluate", "resnet50"), "error: resnet50 is a model and not a run folder: say with --weights whose weights"),
        (("evaluate", "resnet18", "--weights", "timm"), "no weights 'timm' of resnet18: choose from 'torchvision/IM"),
        (("submission", "nope", "--truth", "nope"), "error: the submission nope cannot be read: No such file"),
        (
            ("evaluate", "resnet18", "--also", "resnet34", *["--weights", "timm"] * 3),
            "error: --weights is given 3 times, and there are 2 models: give it once for each, or once for all",
        ),
        (("evaluate", "resnet5"), "error: there is no model 'resnet5': did you mean 'resnet50'"),
        (
            ("predict", "photo.jpg", "--model", "resnet50", "--weights", "w.safetensors"),
            "there is no file w.safetensors",
        ),
        (("reproduce",), "error: say which network's published errors to reproduce, --run and which run to store, or"),
        (("reproduce", "--run", "nope"), "error: there is no recipe or run folder nope"),
        (("reproduce", "--tables", "--document", "nope.md"), "error: nope.md cannot be read and written: No such file"),
        (("reproduce", "resnet50", "--weights", "nope"), "'nope' is no published weights of resnet50, whose errors"),
        (("recipes", "perceptron*"), "no recipe matches 'perceptron*': try one of alexnet_2012_imagenet, "),
        (
            ("predict", "photo.jpg", "--model", "resnet50", "--weights", "torchvision", "--weights-of", "ema"),
            "error: --checkpoint and --weights-of choose from what a run has kept, and there is no run folder resnet50",
        ),
        (("evaluate", "runs/a", "--checkpoint", "best"), "there is no run folder runs/a"),
        (("models", "perceptron*"), "no model matches 'perceptron*'"),
        (("data", "check", "digit"), "error: 'digit' is not a data set: did you mean 'digits'"),
        (("data", "prepare", "imagenet2012", "--archives", "nowhere"), "error: nowhere does not hold ILSVRC2012_img_"),
        (("train", "--num-processes", "2"), "--coordinator-address and --process-id are missing: give --coordinator-"),
        (("supervise", "--max-failures", "3"), "there is no command: supervise.py -- scripts/train.py RECIPE --work"),
        (("supervise", "--", "scripts/train.py", "r.py"), "the command names no --workdir, and its progress could not"),
        (("data", "pack", "folder:nowhere", "--short-side", "8"), "error: there is no folder nowhere"),
    ],
)
def test_mistakes_are_answered_in_a_sentence(arguments, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:  # as tyro does where it finds the mistake
        sys.exit(script_here(monkeypatch, *arguments))
    assert stopped.value.code == 2
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_predict_takes_the_weights_it_is_told(monkeypatch, capsys):
    asked = []

    class Network:
        def predict(self, paths, top_k):
            return [[("tench", 0.75)] * top_k for _ in paths]

    monkeypatch.setattr("jaxcnn.trained.load", lambda *arguments: asked.append(arguments) or Network())
    options = ("--model", "runs/a", "--checkpoint", "best", "--weights-of", "ema")
    assert script_here(monkeypatch, "predict", "photo.jpg", *options) == 0
    assert script_here(monkeypatch, "predict", "photo.jpg", "--model", "lenet", "--weights", "w.pth") == 0
    assert asked == [("runs/a", None, "best", "ema"), ("lenet", "w.pth", "latest", "raw")]
    assert "tench" in capsys.readouterr().out


def test_a_dry_run_is_of_the_recipe_with_its_options_and_writes_nothing(tmp_path, monkeypatch, capsys):
    class Found:
        def __init__(self, config, topology):
            self.said = f"{config.name}, batch {config.data.batch_size}, on {topology}"

        def report(self):
            return self.said

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("jaxcnn.laboratory.dry_run.dry_run", Found)
    monkeypatch.setattr("jaxcnn.laboratory.topology.over_topology", str.upper)
    assert script_here(monkeypatch, "train", TINY, "--dry-run", "--data.batch-size", "8") == 0
    assert script_here(monkeypatch, "train", TINY, "--dry-run", "--topology", "v5e:2x2") == 0
    assert capsys.readouterr().out == "tiny, batch 8, on None\ntiny, batch 64, on V5E:2X2\n"
    assert not list(tmp_path.iterdir())


def test_convert_writes_what_predict_reads(tmp_path):
    state = {
        place: np.zeros(leaf.shape, np.float16) for place, leaf in load.variable_shapes("resnet20_cifar", {}).items()
    }
    safetensors.numpy.save_file(state, tmp_path / "theirs.safetensors")
    Image.new("RGB", (40, 40)).save(tmp_path / "photo.png")
    answer = script("convert", "resnet20_cifar", "theirs.safetensors", "ours.safetensors", folder=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == "ours.safetensors holds the variables of create_model('resnet20_cifar')\n"
    again = script("convert", "resnet20_cifar", "theirs.safetensors", "ours.safetensors", folder=tmp_path)
    assert again.stderr == "error: there is ours.safetensors already: remove it, or give another path\n"
    network = ("--model", "resnet20_cifar", "--weights", "ours.safetensors", "--top-k", "1")
    answer = script("predict", "photo.png", *network, folder=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert "0.1000" in answer.stdout


def test_evaluate_averages_views_and_networks_and_keeps_the_details(tmp_path, monkeypatch, capsys):
    """Two networks, ten-crop, one image left out; then a submission of all, scored."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for weights in ("a.safetensors", "b.safetensors"):
        leaves = load.variable_shapes("resnet20_cifar", {}).items()
        state = {place: rng.uniform(0.1, 0.3, leaf.shape).astype(np.float16) for place, leaf in leaves}
        safetensors.numpy.save_file(state, tmp_path / weights)
    for label in range(10):
        folder = tmp_path / "photos" / "val" / str(label)
        folder.mkdir(parents=True)
        image = rng.integers(0, 256, (50, 40, 3)).astype(np.uint8)
        Image.fromarray(image).save(folder / f"ILSVRC2012_val_{10 - label:08d}.png")
    (tmp_path / "blacklist.txt").write_text("3\n")
    network = ("resnet20_cifar", "--weights", "a.safetensors", "--data.name", "folder:photos")
    both = (*network, "--also", "resnet20_cifar", "--weights", "b.safetensors")
    views = ("views:ten-crop", "--views.size", "32", "--views.short-sides", "36")
    options = ("--leave-out", "blacklist.txt", "--details", "out")
    assert script_here(monkeypatch, "evaluate", *both, *options, *views) == 0
    assert re.fullmatch(
        r"top-1 error [\d.]+ % \(95 % interval by Wilson's score: [\d.]+ to [\d.]+\)\ntop-5 error .*\n9 images\n",
        capsys.readouterr().out,
    )
    report = json.loads((tmp_path / "out" / "result.json").read_text())
    assert report["networks"] == ["resnet20_cifar"] * 2
    assert report["weights"] == ["a.safetensors", "b.safetensors"]
    assert report["views"]["kind"] == "ten_crop"
    assert [each["images"] for each in report["classes"]] == [1] * 7 + [0] + [1] * 2
    assert np.load(tmp_path / "out" / "details.npz")["confusion"].sum() == 9
    assert script_here(monkeypatch, "evaluate", *network, "--submission", "answers.txt") == 0
    evaluated = capsys.readouterr().out
    (tmp_path / "truth.txt").write_text("".join(f"{label}\n" for label in range(10, 0, -1)))
    assert script_here(monkeypatch, "submission", "answers.txt", "--truth", "truth.txt") == 0
    assert capsys.readouterr().out == evaluated
    (tmp_path / "real.json").write_text(json.dumps([[], *[list(range(10))] * 9]))
    assert script_here(monkeypatch, "evaluate", *network, "--labels", "real.json") == 0
    output = capsys.readouterr()
    assert re.match(r"top-1 error 0.00 % .*\ntop-5 error 0.00 % .*\n9 images\n", output.out)
    assert "1 images have no valid label, and are left out" in output.err
    refused = (*network, "--submission", "other.txt", "--class-numbers", "meta.mat")
    assert script_here(monkeypatch, "evaluate", *refused) == 2
    assert "the network's are not known by them" in capsys.readouterr().err


def test_reproduce_compares_and_stores_what_compares(tmp_path, monkeypatch, capsys):
    errors = {1: 20.5, 5: 5.25}
    facts = {"protocol": "centre crop 224 of 232, bilinear", "data": "photos", "date": "2026-01-02", "device": "1 cpu"}
    weights = "torchvision/IMAGENET1K_V2"
    asked = []

    def measured(images):
        found = Reproduction(model="resnet50", weights=weights, images=images, errors=errors, versions={}, **facts)
        monkeypatch.setattr("jaxcnn.tables.reproduction.reproduce", lambda *given: asked.append(given) or found)

    lines = "<!-- {0}: scripts/reproduce.py --tables writes from here -->\n<!-- {0}: to here -->\n"
    (tmp_path / "d.md").write_text(lines.format("recipes") + lines.format("weights"))
    where = ("--results", str(tmp_path / "results"), "--document", str(tmp_path / "d.md"))
    command = ("reproduce", "resnet50", "--weights", "torchvision", "--data.name", "folder:photos", *where)
    measured(images=5)
    assert script_here(monkeypatch, *command) == 0
    assert "the published errors are of 50000 images, and these of 5: they do not compare" in capsys.readouterr().out
    assert not (tmp_path / "results").exists()
    measured(images=50_000)
    assert script_here(monkeypatch, *command, "--tables") == 0
    output = capsys.readouterr().out
    assert re.search(r"top-1 error +│ 20.500 % +│ 20.15 to 20.86 +│ 19.142 % +│ \+1.358 +│ no", output)
    assert [each[:2] for each in asked] == [("resnet50", "torchvision")] * 2
    assert asked[0][2].name == "folder:photos"
    assert len(list((tmp_path / "results" / "weights").iterdir())) == 1
    assert "| 19.142 / 4.566 | 20.500 / 5.250 | +1.358 / +0.684 | no / no | 50000 |" in (tmp_path / "d.md").read_text()
    assert "| `lenet_mnist` | LeNet on MNIST" in (tmp_path / "d.md").read_text()


def test_models_prints_the_table():
    table = script("models", "[gr]*net*[04]")
    assert table.returncode == 0, table.stderr
    assert re.search(
        r"resnet50 +│ 25,557,032 │ +4,089.2 M │ +50 │ 224x224x3 │ +23.87 % │ +7.14 % │ centre crop", table.stdout
    )
    # An error that the paper does not give is left out.
    assert re.search(
        r"googlenet_2014 +│ +6,998,552 │ +1,582.7 M │ +22 │ 224x224x3 │ +│ +10.07 % │ 1 crop", table.stdout
    )


def test_data_checks_packs_and_shows(tmp_path):
    for split in ("train", "test"):
        (tmp_path / "photos" / split / "black").mkdir(parents=True)
        Image.new("RGB", (20, 30)).save(tmp_path / "photos" / split / "black" / "a.png")
    assert script("data", "check", "folder:photos", folder=tmp_path).returncode == 0
    (tmp_path / "photos" / "train" / "black" / "b.png").write_bytes(b"<html>")
    answer = script("data", "check", "folder:photos", folder=tmp_path)
    assert answer.returncode == 1, answer.stderr
    assert answer.stdout.endswith("b.png is not an image\nthe data set is NOT whole\n")
    options = ("--short-side", "16", "--format", "raw", "--data-dir", "prepared")
    answer = script("data", "pack", "folder:photos", *options, folder=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == (
        "train: 1 images, 0.0 MB, 1 left out\n"
        "  photos/train/black/b.png is not an image\n"
        "test: 1 images, 0.0 MB, 0 left out\n"
        "tfds:photos_16_raw is in prepared/photos_16_raw/1.0.0\n"
    )
    answer = script("data", "check", "tfds:photos_16_raw", "--data-dir", "prepared", folder=tmp_path)
    assert answer.returncode == 0, answer.stderr
    answer = script("data", "preview", TINY, "--out", "page.html", "--images", "2", folder=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == "page.html shows 2 training images\n"
    assert (tmp_path / "page.html").read_text().startswith("<!DOCTYPE html>")
