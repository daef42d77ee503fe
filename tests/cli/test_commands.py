"""The commands, in this process as far as that shows the same, and a few as a person runs them."""

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from PIL import Image

from jaxcnn.cli.main import main
from jaxcnn.config import DataConfig
from jaxcnn.tables.reproduction import Reproduction
from jaxcnn.trials.interruption import Outcome
from jaxcnn.weights import load

TINY = str(Path(__file__).parents[1] / "recipes" / "tiny.py")


def jaxcnn(*arguments, folder):
    """Runs a command in a new process."""
    command = [sys.executable, "-m", "jaxcnn", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=300)


@pytest.mark.slow
def test_training_as_a_person_starts_it(tmp_path):
    trained = jaxcnn("train", TINY, "--epochs", "0.6", "--workdir", "run", folder=tmp_path)
    assert trained.returncode == 0, trained.stderr
    assert trained.stderr == "digits has no split for validation, so its split 'test' is used\n"
    last = trained.stdout.splitlines()[-1]
    assert re.fullmatch(r"top-1 error \d+\.\d\d %  top-5 error \d+\.\d\d %  \(360 images\)", last)
    assert "epochs = 0.6" in trained.stdout


def test_a_mistake_as_a_person_makes_it(tmp_path):
    refused = jaxcnn("train", "resnet50_imagnet", folder=tmp_path)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("error: there is no recipe or run folder resnet50_imagnet: did you mean 'resnet50")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("train", "nope.py"), "error: there is no recipe or run folder nope.py"),
        (("train", "--model.name", "lenett"), "error: there is no model 'lenett': did you mean 'lenet'"),
        (("train", "--data.batch-sise", "3"), "--data.batch-size"),
        (("train", "--data.batch-size", "x"), "--data.batch-size"),
        (("train", "--data.batch-size=-3"), "batch_size must be greater than 0, not -3"),
        (("train", "--optimizer.schedule.kind", "cosin"), "cosine"),
        (
            ("train", "--topology", "v5e:2x2"),
            "error: --topology names devices that can be compiled for but not trained",
        ),
        (
            ("train", "--dry-run", "--topology", "v0"),
            "error: there is no machine 'v0' to compile for in --topology v0: ",
        ),
        (("evaluate", "resnet50"), "error: resnet50 is a model and not a run folder, so it needs weights"),
        (("evaluate", "alexnet", "--weights", "timm"), "no weights 'timm' of alexnet: choose from 'torchvision/IM"),
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
        (
            ("reproduce", "resnet50", "--weights", "nope"),
            "'nope' does not name published weights of resnet50, to compare",
        ),
        (("recipes", "--json", "rows.json"), "error: --json keeps what is found with --topology: add it, as in"),
        (("recipes", "perceptron*"), "no recipe matches 'perceptron*': choose from 'alexnet_2012_imagenet', "),
        (
            ("predict", "photo.jpg", "--model", "resnet50", "--weights", "torchvision", "--weights-of", "ema"),
            "error: --checkpoint and --weights-of choose from what a run has kept, and resnet50 is not a run folder",
        ),
        (("evaluate", "runs/a", "--checkpoint", "best"), "runs/a is not a run folder"),
        (("models", "perceptron*"), "no model matches 'perceptron*'"),
        (("data", "check", "digit"), "error: 'digit' is not a data set: did you mean 'digits'"),
        (("interrupt", "nope"), "error: there is no recipe or run folder nope: choose from"),
        (("data", "preview", "lenet_digit", "--out", "p.html"), "run folder lenet_digit: did you mean 'lenet_digits'"),
        (("benchmark", "loop", "nope.py"), "error: there is no recipe or run folder nope.py"),
        (("data", "prepare", "imagenet2012", "--archives", "nowhere"), "error: nowhere does not hold ILSVRC2012_img_"),
        (("train", "--num-processes", "2"), "--coordinator-address and --process-id are missing: give --coordinator-"),
        (("supervise", "--max-failures", "3"), "there is no command to supervise: jaxcnn supervise -- train REC"),
        (("supervise", "--", "train", "r.py"), "the command has no --workdir, in which its progress could"),
        (("baseline", "table"), "error: there is nothing to put into a table: name the folders of baselines and train"),
        (("baseline", "table", "nowhere"), "error: nowhere is neither the folder of a baseline nor that of a training"),
        (
            ("baseline", "sift-fisher", "--data.channels", "3"),
            "error: data.channels is 3, and SIFT describes grey",
        ),
        (
            ("baseline", "sparse-coding", "--sift.bins", "9"),
            "error: a patch of 4 x 4 bins of 9 pixels does not fit",
        ),
        (("baseline", "sift-fisher", "--data.name", "folder:nowhere"), "/nowhere: check the path"),
        (("data", "pack", "folder:nowhere", "--short-side", "8"), "error: there is no folder nowhere"),
    ],
)
def test_mistakes_are_answered_in_a_sentence(arguments, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:  # as tyro does where it finds the mistake
        sys.exit(main(arguments))
    assert stopped.value.code == 2
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_predict_takes_the_weights_it_is_told(monkeypatch, capsys):
    asked = []

    class Network:
        def predict_each(self, paths, top_k, *, upright):
            return ([("tench", 0.75)] * top_k for _ in paths)

    monkeypatch.setattr("jaxcnn.loading.load", lambda *arguments, **_: asked.append(arguments) or Network())
    options = ("--model", "runs/a", "--checkpoint", "best", "--weights-of", "ema")
    assert main(["predict", "photo.jpg", *options]) == 0
    assert main(["predict", "photo.jpg", "--model", "lenet", "--weights", "w.pth"]) == 0
    assert asked == [("runs/a", None, "best", "ema"), ("lenet", "w.pth", "latest", "raw")]
    assert "tench" in capsys.readouterr().out


def test_a_dry_run_is_of_the_recipe_with_its_options_and_writes_nothing(tmp_path, monkeypatch, capsys):
    class Found:
        def __init__(self, config, topology):
            self.said = f"{config.name}, batch {config.data.batch_size}, on {topology}"

        def report(self):
            return self.said

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("jaxcnn.cli.train.dry_run", Found)
    monkeypatch.setattr("jaxcnn.cli.train.over_topology", str.upper)
    assert main(["train", TINY, "--dry-run", "--data.batch-size", "8"]) == 0
    assert main(["train", TINY, "--dry-run", "--topology", "v5e:2x2"]) == 0
    assert capsys.readouterr().out == "tiny, batch 8, on None\ntiny, batch 64, on V5E:2X2\n"
    assert not list(tmp_path.iterdir())


def test_convert_writes_what_predict_reads(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shapes = load.variable_shapes("resnet20_cifar", {})
    state = {name: np.zeros(leaf.shape, np.float16) for name, leaf in shapes.items()}
    safetensors.numpy.save_file(state, tmp_path / "theirs.safetensors")
    Image.new("RGB", (40, 40)).save(tmp_path / "photo.png")
    conversion = ("convert", "resnet20_cifar", "theirs.safetensors", "ours.safetensors")
    assert main(conversion) == 0
    assert capsys.readouterr().out == "ours.safetensors holds the variables of create_model('resnet20_cifar')\n"
    assert main(conversion) == 2
    assert capsys.readouterr().err == "error: there is ours.safetensors already: remove it, or give another path\n"
    options = ("--model", "resnet20_cifar", "--weights", "ours.safetensors", "--top-k", "1", "--fold-batch-norm")
    assert main(["predict", "photo.png", *options]) == 0
    output = capsys.readouterr()
    assert "0.1000" in output.out
    assert "19 of 19 batch normalizations are folded into the convolutions before them" in output.err


@pytest.mark.slow
def test_the_number_of_classes_is_the_files_and_a_file_names_them(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shapes = load.variable_shapes("resnet20_cifar", {"num_classes": 3})
    state = {name: np.zeros(leaf.shape, np.float16) for name, leaf in shapes.items()}
    safetensors.numpy.save_file(state | {"total_ops": np.zeros(1)}, tmp_path / "theirs.safetensors")
    (tmp_path / "names.txt").write_text("\ufeffbig cat\r\ndog\r\nfish [pike]\r\n\r\n", encoding="utf-8")
    (tmp_path / "two.txt").write_text("cat\ndog\n")
    for name in ("big cat", "dog", "fish [pike]"):
        (tmp_path / "photos" / "val" / name).mkdir(parents=True)
        Image.new("RGB", (40, 40)).save(tmp_path / "photos" / "val" / name / "photo.png")
    photo = "photos/val/dog/photo.png"
    theirs = ("resnet20_cifar", "theirs.safetensors", "ours.safetensors", "--ignore", "total_*")
    assert main(["convert", *theirs[:3]]) == 2
    assert "no variable for total_ops; check the network's name and options, or leave" in capsys.readouterr().err
    assert main(["convert", *theirs, "--class-names", "two.txt"]) == 2
    assert "--class-names names 2 classes, and the network has 3: name each of them" in capsys.readouterr().err
    assert main(["convert", *theirs, "--class-names", "names.txt"]) == 0
    said = "ours.safetensors holds the variables of create_model('resnet20_cifar', num_classes=3)\n"
    assert capsys.readouterr().out == said
    given = ("--model", "resnet20_cifar", "--weights")
    assert main(["predict", photo, *given, "ours.safetensors", "--top-k", "3"]) == 0
    assert "big cat" in capsys.readouterr().out
    options = ("--weights", "theirs.safetensors", "--ignore", "total_*", "--data.name", "folder:photos", "--top-k", "1")
    assert main(["evaluate", "resnet20_cifar", *options, "--class-names", "names.txt"]) == 0
    assert capsys.readouterr().out.endswith("3 images\n")
    (tmp_path / "names.txt").write_text("a\n\nb\n")
    assert main(["predict", photo, *given, "ours.safetensors", "--class-names", "names.txt"]) == 2
    assert "names.txt has an empty line 2: give the name of a class on each line" in capsys.readouterr().err


def test_evaluate_averages_views_and_networks_and_keeps_the_details(tmp_path, monkeypatch, capsys):
    """Two networks, ten-crop, one image left out; then a submission of all, scored."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for weights in ("a.safetensors", "b.safetensors"):
        leaves = load.variable_shapes("resnet20_cifar", {}).items()
        state = {path: rng.uniform(0.1, 0.3, leaf.shape).astype(np.float16) for path, leaf in leaves}
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
    assert main(["evaluate", *both, *options, "--fold-batch-norm", *views]) == 0
    assert re.fullmatch(
        r"top-1 error [\d.]+ % \(95 % interval by Wilson's score: [\d.]+ to [\d.]+\)\ntop-5 error .*\n9 images\n",
        capsys.readouterr().out,
    )
    report = json.loads((tmp_path / "out" / "result.json").read_text())
    assert report["networks"] == ["resnet20_cifar"] * 2
    assert report["weights"] == ["a.safetensors", "b.safetensors"]
    assert report["ignored"] == []
    assert report["folded_batch_norm"]
    assert report["views"]["kind"] == "ten_crop"
    assert [each["images"] for each in report["classes"]] == [1] * 7 + [0] + [1] * 2
    assert np.load(tmp_path / "out" / "details.npz")["confusion"].sum() == 9
    assert main(["evaluate", *network, "--submission", "answers.txt"]) == 0
    evaluated = capsys.readouterr().out
    (tmp_path / "truth.txt").write_text("".join(f"{label}\n" for label in range(10, 0, -1)))
    assert main(["submission", "answers.txt", "--truth", "truth.txt"]) == 0
    assert capsys.readouterr().out == evaluated
    (tmp_path / "real.json").write_text(json.dumps([[], *[list(range(10))] * 9]))
    assert main(["evaluate", *network, "--labels", "real.json"]) == 0
    output = capsys.readouterr()
    assert re.match(r"top-1 error 0.00 % .*\ntop-5 error 0.00 % .*\n9 images\n", output.out)
    assert "1 images have no valid label and are left out" in output.err
    refused = (*network, "--submission", "other.txt", "--class-numbers", "meta.mat")
    assert main(["evaluate", *refused]) == 2
    assert "the network's are not known by them" in capsys.readouterr().err


def test_reproduce_compares_and_stores_what_compares(tmp_path, monkeypatch, capsys):
    errors = {1: 20.5, 5: 5.25}
    facts = {"protocol": "centre crop 224 of 232, bilinear", "data": "photos", "date": "2026-01-02", "device": "1 cpu"}
    weights = "torchvision/IMAGENET1K_V2"
    asked = []

    def measured(images):
        found = Reproduction(model="resnet50", weights=weights, images=images, errors=errors, versions={}, **facts)
        monkeypatch.setattr("jaxcnn.tables.reproduction.reproduce", lambda *given: asked.append(given) or found)

    lines = "<!-- {0}: jaxcnn reproduce --tables writes from here -->\n<!-- {0}: to here -->\n"
    (tmp_path / "d.md").write_text(lines.format("recipes") + lines.format("weights"))
    where = ("--results", str(tmp_path / "results"), "--document", str(tmp_path / "d.md"))
    command = ("reproduce", "resnet50", "--weights", "torchvision", "--data.name", "folder:photos", *where)
    measured(images=5)
    assert main(command) == 0
    assert (
        "the published errors are of 50000 images, and these of 5: they cannot be compared" in capsys.readouterr().out
    )
    assert not (tmp_path / "results").exists()
    measured(images=50_000)
    assert main([*command, "--tables"]) == 0
    output = capsys.readouterr().out
    assert re.search(r"top-1 error +│ 20.500 % +│ 20.15 to 20.86 +│ 19.142 % +│ \+1.358 +│ no", output)
    assert [each[:2] for each in asked] == [("resnet50", "torchvision")] * 2
    assert asked[0][2].name == "folder:photos"
    assert len(list((tmp_path / "results" / "weights").iterdir())) == 1
    assert "| 19.142 / 4.566 | 20.500 / 5.250 | +1.358 / +0.684 | no / no | 50000 |" in (tmp_path / "d.md").read_text()
    assert "| `lenet_mnist` | LeNet on MNIST" in (tmp_path / "d.md").read_text()


def test_models_prints_the_table(capsys):
    assert main(["models", "[gr]*net*[04]"]) == 0
    table = capsys.readouterr().out
    assert re.search(r"resnet50 +│ 25,557,032 │ +4,089.2 M │ +50 │ 224x224x3 │ +23.87 % │ +7.14 % │ centre crop", table)
    # An error that the paper does not give is left out.
    assert re.search(r"googlenet_2014 +│ +6,998,552 │ +1,582.7 M │ +22 │ 224x224x3 │ +│ +10.07 % │ 1 crop", table)


def test_recipes_are_listed(capsys):
    assert main(["recipes", "*_flax"]) == 0
    assert capsys.readouterr().out == (
        "resnet50_imagenet_flax\n"
        "    resnet50, tfds:imagenet2012, 100 epochs, published error 23.28 / ? %\n"
        "    ResNet-50 on ILSVRC-2012 as Flax's ImageNet example trains it on 8 V100: published 23.28 % top-1 error.\n"
    )
    assert main(["recipes", "lenet_digits"]) == 0
    assert capsys.readouterr().out.splitlines()[1] == "    lenet, digits, 40 epochs"
    assert main(["recipes", "lenet*", "--markdown"]) == 0
    assert [line.split(" | ")[0] for line in capsys.readouterr().out.splitlines()[2:]] == [
        "| `lenet_digits`",
        "| `lenet_fashion_mnist`",
        "| `lenet_mnist`",
    ]


def test_recipes_tell_the_memory_they_take(monkeypatch, capsys):
    monkeypatch.setattr(
        "jaxcnn.cli.recipes.memory_lines", lambda configs, *others: [f"{c.name} on {others}" for c in configs]
    )
    assert main(["recipes", "lenet_f*", "--topology", "v5e:2x2"]) == 0
    assert main(["recipes", "lenet_d*", "--topology", "h100:8", "--json", "rows.json"]) == 0
    assert capsys.readouterr().out == (
        "lenet_fashion_mnist on ('v5e:2x2', None)\nlenet_digits on ('h100:8', PosixPath('rows.json'))\n"
    )


@pytest.mark.parametrize("command", ["train", "recipes"])
def test_what_can_be_compiled_for_is_listed(command, capsys):
    assert main([command, "--topology", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("v100:8 ")
    assert {"h100:8", "b200:8", "v5e:2x2"} <= {line.split()[0] for line in lines}


def test_data_checks_packs_and_shows(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for split in ("train", "test"):
        (tmp_path / "photos" / split / "black").mkdir(parents=True)
        Image.new("RGB", (20, 30)).save(tmp_path / "photos" / split / "black" / "a.png")
    assert main(["data", "check", "folder:photos"]) == 0
    (tmp_path / "photos" / "train" / "black" / "b.png").write_bytes(b"<html>")
    assert main(["data", "check", "folder:photos"]) == 1
    assert capsys.readouterr().out.endswith("b.png is not an image\nthe data set is NOT whole\n")
    options = ("--short-side", "16", "--format", "raw", "--data-dir", "prepared")
    assert main(["data", "pack", "folder:photos", *options]) == 0
    assert capsys.readouterr().out == (
        "train: 1 images, 0.0 MB, 1 left out\n"
        "  photos/train/black/b.png is not an image\n"
        "test: 1 images, 0.0 MB, 0 left out\n"
        "tfds:photos_16_raw is in prepared/photos_16_raw/1.0.0\n"
    )
    assert main(["data", "check", "tfds:photos_16_raw", "--data-dir", "prepared"]) == 0
    capsys.readouterr()
    assert main(["data", "preview", TINY, "--out", "page.html", "--images", "2"]) == 0
    assert capsys.readouterr().out == "page.html shows 2 training images\n"
    assert (tmp_path / "page.html").read_text().startswith("<!DOCTYPE html>")


@pytest.mark.parametrize(("limit", "readable"), [(600, True), (599, False)])
def test_the_largest_image_is_an_option_of_each_command(tmp_path, monkeypatch, capsys, limit, readable):
    monkeypatch.chdir(tmp_path)
    for split in ("train", "test"):
        (tmp_path / "photos" / split / "black").mkdir(parents=True)
        for name in ("a", "b")[: 1 + (split == "train")]:
            size = (20, 30) if name == "a" else (5, 5)
            Image.new("RGB", size).save(tmp_path / "photos" / split / "black" / f"{name}.png")
    sentence = (
        "a.png claims 20 by 30 pixels, more than max_pixels=599 allows: --max-pixels (of a run, --data.max-pixels) "
    )
    option = ("--max-pixels", str(limit))
    assert main(["data", "check", "folder:photos", "--splits", "train", *option]) == (0 if readable else 1)
    assert (sentence in capsys.readouterr().out) != readable
    packing = ("--splits", "train", "--short-side", "4", "--data-dir", "prepared", *option)
    assert main(["data", "pack", "folder:photos", *packing]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"train: {1 + readable} images")
    assert (sentence in printed) != readable

    @dataclasses.dataclass(frozen=True)
    class Network:
        data: DataConfig = dataclasses.field(default_factory=DataConfig)

        def predict_each(self, paths, top_k, *, upright):
            assert self.data.max_pixels == limit
            return iter([[("tench", 0.75)]])

    monkeypatch.setattr("jaxcnn.loading.load", lambda *arguments, **_: Network())
    assert main(["predict", "photos/test/black/a.png", *option]) == 0


def test_categories_are_listed_and_made(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("birds", "cartoon", "[fish]"):
        (tmp_path / "stamps" / name).mkdir(parents=True)
        for index in range(3):
            pixels = np.random.RandomState(10 * len(name) + index).randint(256, size=(6, 8, 4)).astype(np.uint8)
            pixels[..., 3] = 255 * (np.arange(8) < 6)
            Image.fromarray(pixels).save(tmp_path / "stamps" / name / f"{index}.png")
    assert main(["data", "make-categories", "stamps", "--list"]) == 0
    listed = capsys.readouterr().out
    assert re.search(r"│ \[fish\] +│ _fish_ +│ 3 +│ +│", listed)
    assert re.search(r"│ cartoon +│ cartoon +│ 0 +│ 3 drawing +│", listed)
    assert sorted(os.listdir()) == ["stamps"]
    assert main(["data", "make-categories", "stamps"]) == 2
    assert capsys.readouterr().err == "error: say which folder to write by --out, or --list to see the categories\n"
    options = ("--count", "2", "--min-cut-outs", "3", "--images", "2", "--validation-images", "1", "--size", "8")
    command = ["data", "make-categories", "stamps", "--out", "two", *options, "--grounds", "plain"]
    for said in ("now holds", "holds"):
        assert main(command) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0] == f"two {said} 6 images"
        assert lines[1:] == [f"  {name}: 2 cut-outs for training, 1 for validation" for name in ("_fish_", "birds")]
    assert main(["data", "check", "folder:two"]) == 0


def test_scenes_are_made(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    options = ("--images", "2", "--validation-images", "1", "--size", "48", "--grounds", "plain")
    for said in ("now holds", "holds"):
        assert main(["data", "make-scenes", "--out", "scenes", *options]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0] == f"scenes {said} 2 scenes for training and 1 for validation"
        assert len(lines) == 11
    assert Path("scenes/annotations/validation.json").is_file()


def test_an_interrupted_command_says_how_to_go_on(monkeypatch, capsys):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("jaxcnn.cli.data.check_data_set", interrupted)
    assert main(["data", "check", "digits"]) == 130
    assert capsys.readouterr().err == "interrupted; the same command starts again cleanly\n"


def test_interrupt_counts_and_compares(monkeypatch, capsys):
    asked = []

    def trial(arguments, folder, **options):
        asked.append((arguments, options))
        return Outcome(kills=2, resumed_after=(0, 8), finished_runs=1, differing=differing)

    monkeypatch.setattr("jaxcnn.cli.interrupt.interrupt_repeatedly", trial)
    differing = ()
    assert main(["interrupt", "--kills", "2", "--", "--epochs", "1"]) == 0
    assert asked == [
        (
            ["resnet20_digits", "--epochs", "1"],
            {"kills": 2, "number": signal.SIGKILL, "seed": 0, "between_lines": False},
        )
    ]
    assert capsys.readouterr().out == (
        "2 times SIGKILL, going on from steps 0, 8\n"
        "1 finished runs: final state and metrics bit-identical to the uninterrupted run's\n"
    )
    differing = ("run: params/a",)
    assert main(["interrupt", TINY, "--signal", "TERM"]) == 1
    assert asked[1][0] == [TINY]
    assert asked[1][1]["number"] == signal.SIGTERM
    assert "NOT the same as the uninterrupted run's\n  differs: run: params/a\n" in capsys.readouterr().out
