"""The study of transfer: what it draws, what it computes once, and what it says."""

import dataclasses
import json
import statistics

import numpy as np
import PIL.Image
import pytest
import safetensors.numpy

from jaxcnn.cli.main import main
from jaxcnn.config import DataConfig
from jaxcnn.config.study import StudyConfig
from jaxcnn.errors import UserError
from jaxcnn.models.lenet import LeNet
from jaxcnn.models.registry import list_models, register
from jaxcnn.models.variant import Variant
from jaxcnn.transfer import study as study_module
from jaxcnn.transfer.draws import POOL, Image, draw
from jaxcnn.transfer.study import study
from jaxcnn.transfer.summary import Summary
from jaxcnn.weights import load

MODEL = "network_of_the_study_tests"
NAMES = ("dark", "light", "striped")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder data set of three classes that any network tells apart: nine images of each."""
    folder, random = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 3)):
        for label, name in enumerate(NAMES):
            (folder / split / name).mkdir(parents=True)
            for index in range(count):
                pixels = random.integers(0, 40, (32, 32, 3)) + 200 * (label == 1)
                if label == 2:
                    pixels[:, ::4] += 200
                PIL.Image.fromarray(pixels.astype(np.uint8)).save(folder / split / name / f"{index}.png")
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """The weights of a LeNet for colour images, which has learnt nothing."""
    if MODEL not in list_models():
        register(Variant(MODEL, "tests", LeNet, {}, input_size=32, channels=3, num_classes=10))
    path, random = tmp_path_factory.mktemp("weights") / "lenet.safetensors", np.random.default_rng(1)
    shapes = load.variable_shapes(MODEL, {"num_classes": 10})
    state = {name: 0.2 * random.standard_normal(leaf.shape, np.float32) for name, leaf in shapes.items()}
    safetensors.numpy.save_file(state, path)
    return str(path)


@pytest.fixture
def config(images, weights):
    return StudyConfig(
        network=MODEL,
        weights=weights,
        data=DataConfig(name=f"folder:{images}"),
        methods=("svm", "knn"),
        images_per_class=(2, 4),
        splits=2,
        tested_per_class=3,
        steps=3,
        scratch_steps=3,
        batch_size=8,
    )


def test_features_are_extracted_once_and_what_is_there_is_not_computed_again(config, tmp_path, monkeypatch):
    first = study(config, tmp_path / "study")
    assert set(first.accuracies) == {(method, size) for method in ("svm", "knn") for size in (2, 4)}
    assert all(found.keys() == {0, 1} for found in first.accuracies.values())
    assert first.mean("svm", 4) > 90
    stored = json.loads((tmp_path / "study/study.json").read_text())
    assert stored["classes"] == list(NAMES)
    assert {row["method"]: row["mean"] for row in stored["results"] if row["images_per_class"] == 4}["svm"] > 90
    pool = tmp_path / "study/images/2x4-0"
    assert sum(1 for _ in (pool / POOL).rglob("*.png")) <= 27

    def refuse(*_, **__):
        raise AssertionError("it is computed again")

    monkeypatch.setattr(study_module, "fit", refuse)
    monkeypatch.setattr(study_module, "extract", refuse)
    assert study(config, tmp_path / "study").accuracies == first.accuracies


@pytest.mark.slow
def test_networks_are_trained_as_many_steps_on_any_number_of_images(config, tmp_path, capsys):
    config = dataclasses.replace(config, methods=("scratch", "finetuned", "softmax"), images_per_class=(2,))
    found = study(config, tmp_path / "study")
    for method in ("scratch", "finetuned"):
        for split in range(2):
            run = tmp_path / "study/runs" / f"{method}-2-{split}"
            lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
            assert [line["step"] for line in lines if line["kind"] == "evaluation"] == [3]
            stored = json.loads((run / "config.json").read_text())
            assert (stored["init_from"] is None) == (method == "scratch")
            assert stored["seed"] == split
    data = tmp_path / "study/images/2x2-0/split0-2"
    assert sorted(path.name for path in (data / "train").iterdir()) == list(NAMES)
    train, test = ({link.resolve() for link in (data / split).rglob("*.png")} for split in ("train", "test"))
    assert (len(train), len(test), train & test) == (6, 9, set())
    # More is asked for: what there is stays.
    more = study(dataclasses.replace(config, splits=1, methods=("knn",), images_per_class=(4,)), tmp_path / "study")
    assert set(more.accuracies) == {*found.accuracies, ("knn", 4)}


def test_a_draw_is_a_function_of_its_seed_and_smaller_ones_are_parts_of_larger():
    config = StudyConfig(network="lenet", images_per_class=(1, 4), tested_per_class=3)
    images = [[Image(int(index > 5), index) for index in range(count)] for count in (9, 7)]
    drawn = draw(images, ("a", "b"), 1, config)
    assert drawn == draw(images, ("a", "b"), 1, config)
    assert drawn != draw(images, ("a", "b"), 2, config)
    for label, count in enumerate((9, 7)):
        assert sorted(drawn.train[label] + drawn.test[label]) == list(range(count))
        assert len(drawn.test[label]) == 3
        assert drawn.of(1)[label] == drawn.of(4)[label][:1]
    with pytest.raises(
        UserError, match=r"the class 'b' has 6 images, and a split takes 3 to measure on and 4 to train"
    ):
        draw([images[0], images[1][:6]], ("a", "b"), 0, config)


def test_the_splits_of_a_data_set_can_be_kept():
    config = StudyConfig(network="lenet", images_per_class=(4,), data=DataConfig(name="folder:made{split}"))
    assert [config.data_of(split).name for split in (0, 3)] == ["folder:made0", "folder:made3"]
    images = [[Image(int(index > 5), index) for index in range(9)]]
    for each in (config, dataclasses.replace(config, data=DataConfig(name="folder:made"), keep_splits=True)):
        drawn = draw(images, ("a",), 0, each)
        assert drawn.test == ((6, 7, 8),)
        assert sorted(drawn.train[0]) == list(range(6))
    with pytest.raises(
        UserError, match="the class 'a' has 3 images to train on and 3 to measure on, and a split takes 4"
    ):
        draw([images[0][3:]], ("a",), 0, config)


def test_margins_are_of_the_same_splits():
    summary = Summary({("svm", 5): {0: 90.0, 1: 80.0, 2: 85.0}, ("scratch", 5): {1: 30.0, 2: 45.0}})
    assert summary.margin("svm", "scratch", 5) == (45.0, pytest.approx(statistics.stdev([50, 40])))
    assert summary.margin("svm", "knn", 5) is None
    assert summary.deviation("svm", 5) == 5.0
    assert Summary({("svm", 5): {0: 90.0}}).deviation("svm", 5) is None
    assert str(summary) == (
        "                5 a class\n"
        "scratch      37.5 +- 10.6\n"
        "svm           85.0 +- 5.0\n"
        "accuracy in %, mean and standard deviation over splits"
    )


def test_another_study_and_a_class_of_too_few_images_are_refused(config, tmp_path, capsys):
    command = ["transfer-study", MODEL, "--weights", config.weights, "--data.name", config.data.name]
    assert main([*command, "--workdir", str(tmp_path / "study")]) == 2
    assert "the class 'dark' has 9 images, and a split takes 10 to measure on" in capsys.readouterr().err
    assert not (tmp_path / "study").exists()
