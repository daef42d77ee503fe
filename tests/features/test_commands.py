"""`jaxcnn features` and `jaxcnn probe` as a person gives them."""

import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy
from PIL import Image

from jaxcnn.cli.main import main
from jaxcnn.devices.threads import steady_threads
from jaxcnn.features.store import Features, file_of
from jaxcnn.weights import load
from tests.devices.two_processes import ROOT

CLASSES = ("dark", "light")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Random weights of LeNet and ResNet-20, and grey pictures of two classes, of which one cannot be read."""
    random, folder = np.random.default_rng(0), tmp_path_factory.mktemp("files")
    for network in ("lenet", "resnet20_cifar"):
        shapes = load.variable_shapes(network, {})
        state = {name: random.uniform(-0.1, 0.1, leaf.shape).astype(np.float32) for name, leaf in shapes.items()}
        safetensors.numpy.save_file(state, folder / f"{network}.safetensors")
    for split, count in (("train", 12), ("test", 5)):
        for label, name in enumerate(CLASSES):
            (folder / "pics" / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(0, 128, (28, 28)) + 100 * label
                Image.fromarray(pixels.astype(np.uint8)).save(folder / "pics" / split / name / f"{number:02}.png")
    broken = folder / "pics/train/dark/03.png"
    broken.write_bytes(broken.read_bytes()[:200])
    return folder


@pytest.fixture
def here(files, tmp_path, monkeypatch):
    """A copy of these in the working directory."""
    monkeypatch.chdir(shutil.copytree(files, tmp_path / "here"))
    return tmp_path / "here"


GREY = ("--normalization.mean", "0.5", "--normalization.std", "0.25")
LENET = ("features", "lenet", "--weights", "lenet.safetensors", *GREY)
PICS = ("--data.name", "folder:pics", "--data.max-bad-share", "0.1")


def test_from_pictures_to_an_error_with_its_interval(here, capsys):
    assert main([*LENET, "--layer", "list"]) == 0
    listed = capsys.readouterr().out
    assert re.search(
        r"│ conv1 +│ \d+x\d+x6 +│ 6 +│.*│ dense3:input +│ 84 +│ 84 +│.*│ logits +│ 10 +│ 10 +│", listed, re.S
    ), listed
    assert main([*LENET, *PICS, "--workdir", "out"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "out holds the features\n"
    assert re.search(r"left out of folder:pics, split 'train': train/dark/03.png \(.+\)", captured.err)
    found = Features(file_of(here / "out", "train"), "train")
    assert found.names()[:4] == [f"train/dark/{number:02}.png" for number in range(4)]
    assert np.flatnonzero(~found.known).tolist() == [3]
    assert found.class_names == CLASSES
    assert main(["probe", "out", "--kind", "softmax", "--regularization", "1", "100", "--folds", "3"]) == 0
    assert "regularization 100: top-1 error in cross-validation " in capsys.readouterr().out
    (result,) = (here / "out" / "probes").glob("*/result.json")
    assert json.loads(result.read_text())["images"] == 10


def test_the_pictures_may_lie_elsewhere_and_their_names_stay(here, capsys):
    command = [*LENET, *PICS[2:], "--workdir", "out", "--splits", "test", "--data.name"]
    assert main([*command, "folder:pics"]) == 0
    before = file_of(here / "out", "test").read_bytes()
    (here / "pics").rename(here / "moved")
    file_of(here / "out", "test").unlink()
    assert main([*command, "folder:moved"]) == 0
    assert file_of(here / "out", "test").read_bytes() == before
    (here / "moved/test/dark/00.png").unlink()
    assert main([*command, "folder:moved"]) == 2
    assert "for test are not those that the extraction in out began with: 'dark' has 4 files" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (LENET, "error: features need a folder: name it with --workdir FOLDER, or see all layers with --layer list"),
        (
            (*LENET, *PICS, "--workdir", "out", "--layer", "fc1:imput"),
            "error: there is no layer 'fc1:imput' in this netw",
        ),
        (
            (*LENET[:3], "resnet20_cifar.safetensors", *PICS, "--workdir", "out"),
            "which does not fit params/conv1/kernel, (5, 5, 1, 6): make the network with the number of classes and the",
        ),
        (
            (*LENET, *PICS, "--workdir", "out", "--splits", "tset"),
            "error: folder:pics has no split 'tset': did you mean 'test'?",
        ),
        ((*LENET, *PICS, "--workdir", "out", "--images-at-once", "0"), "images_at_once must be greater than 0, not 0"),
        (("features", "lenet"), "error: lenet is a model and not a run folder, so it needs weights"),
        (("probe", "out"), "error: out holds no features: extract some with `jaxcnn features NETWORK --workdir out`"),
        (("probe", "out", "--folds", "1"), "folds must be greater than or equal to 2, not 1"),
    ],
)
def test_mistakes_are_answered_in_a_sentence(here, capsys, arguments, sentence):
    with pytest.raises(SystemExit) as stopped:  # as tyro does where it finds the mistake
        sys.exit(main([*arguments]))
    assert stopped.value.code == 2
    assert sentence in " ".join(capsys.readouterr().err.split())
    assert not (here / "out").exists()


def test_as_many_threads_for_eight_devices_as_for_one(monkeypatch):
    monkeypatch.delenv("NPROC", raising=False)
    with steady_threads():
        assert int(os.environ["NPROC"]) >= 8
    assert "NPROC" not in os.environ
    monkeypatch.setenv("NPROC", "3")
    with steady_threads():
        assert os.environ["NPROC"] == "3"


@pytest.mark.slow
def test_one_device_and_eight_write_the_same_bytes_of_a_network_that_is_compiled_as_for_users(here):
    """Tests compile with little optimization, which hides that XLA sums differently with more threads."""
    command = [sys.executable, "-m", "jaxcnn", "features", "efficientnet_lite0", "--weights", "lite0", *PICS]
    command += [
        "--images-at-once",
        "4",
        "--splits",
        "test",
        "--layer",
        "stem_conv|stage7_block0|classifier/dense:input",
    ]
    for devices in ("1", "8"):
        flags = {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}", "PYTHONPATH": str(ROOT)}
        subprocess.run([*command, "--workdir", devices], check=True, env=os.environ | flags)
    assert file_of(here / "8", "test").read_bytes() == file_of(here / "1", "test").read_bytes()
