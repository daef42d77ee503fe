"""Published errors measured again, stored and put into the table."""

import dataclasses
import hashlib
import json

import numpy as np
import pytest
import safetensors.numpy
from PIL import Image

from jaxcnn.config import CenterCrop, DataConfig
from jaxcnn.errors import UserError
from jaxcnn.loading import load
from jaxcnn.tables.reproduction import Reproduction, read, reproduce, save, table
from jaxcnn.weights import published
from jaxcnn.weights.load import variable_shapes
from jaxcnn.weights.published import find_published

NAME, WEIGHTS = "resnet20_cifar", "torchvision/OURS"


@pytest.fixture
def somebodys(tmp_path, monkeypatch):
    """Published weights of a small network, and ten photographs to measure them on."""
    rng = np.random.default_rng(0)
    state = {
        path: rng.uniform(0.1, 0.3, leaf.shape).astype(np.float32) for path, leaf in variable_shapes(NAME, {}).items()
    }
    monkeypatch.setenv("JAXCNN_CACHE", str(tmp_path))
    safetensors.numpy.save_file(state, tmp_path / "ours.pth")
    entry = dataclasses.replace(
        find_published("resnet18", "torchvision"),
        source=WEIGHTS,
        model=NAME,
        url="https://example.com/ours.pth",
        sha256=hashlib.sha256((tmp_path / "ours.pth").read_bytes()).hexdigest()[:8],
        crop=32,
        resize=36,
        top1_accuracy=10.001,
        top5_accuracy=60.0,
        images=10,
    )
    monkeypatch.setattr(published, "all_published", lambda: {"torchvision": {NAME: (entry,)}})
    for label in range(10):
        (tmp_path / "photos" / "val" / str(label)).mkdir(parents=True)
        image = rng.integers(0, 256, (50, 40, 3)).astype(np.uint8)
        Image.fromarray(image).save(tmp_path / "photos" / "val" / str(label) / "a.png")
    return DataConfig(name=f"folder:{tmp_path}/photos")


def made(**changes):
    fields = {
        "model": NAME,
        "weights": WEIGHTS,
        "protocol": "centre crop 32 of 36, bilinear",
        "data": "there",
        "images": 10,
        "errors": {1: 90.0, 5: 50.0},
        "date": "2026-01-02",
        "device": "1 cpu",
        "versions": {"jax": "0"},
    }
    return Reproduction(**{**fields, **changes})


def test_published_weights_are_measured_as_published(somebodys):
    found = reproduce(NAME, None, somebodys, batch_size=4)
    network = load(NAME, WEIGHTS)
    data = dataclasses.replace(somebodys, evaluation_crop=CenterCrop(size=32, resize=36))
    assert found.errors == network.evaluate(data, batch_size=10, top_k=(1, 5)).errors
    assert (found.images, found.protocol) == (10, "centre crop 32 of 36, bilinear")
    assert found.data == f"{somebodys.name}, split 'val'"
    assert found.comparable
    assert found.difference(1) == pytest.approx(found.errors[1] - 89.999)
    assert found.versions["jax"].startswith("0.")


def test_a_difference_and_the_interval(somebodys):
    # Wilson's interval of 9 wrong of 10 is 59.6 to 98.2.
    assert (made().difference(1), made().difference(5)) == (0.001, 10.0)
    assert made().is_within(1)
    assert not made(errors={1: 40.0, 5: 50.0}).is_within(1)


def test_what_is_stored_is_in_the_table(somebodys, tmp_path, monkeypatch):
    assert table({}).splitlines()[2:] == [
        f"| `{NAME}` | `{WEIGHTS}` | centre crop 32 of 36, bilinear | 89.999 / 40.000 | not run |  |  |  |  |"
    ]
    path = save(made(), tmp_path / "results")
    assert path == tmp_path / "results" / "resnet20_cifar_torchvision_OURS.json"
    results = read(tmp_path / "results")
    assert results == {(NAME, WEIGHTS): made()}
    assert table(results).endswith(
        "| 89.999 / 40.000 | 90.000 / 50.000 | +0.001 / +10.000 | yes / yes | 10 | 2026-01-02, 1 cpu |\n"
    )
    entry = dataclasses.replace(find_published(NAME, WEIGHTS), top1_accuracy=None, top5_accuracy=None)
    monkeypatch.setattr(published, "all_published", lambda: {"torchvision": {NAME: (entry,)}})
    assert "| none | 90.000 / 50.000 |  |  | 10 |" in table(results)
    assert made().difference(1) is None


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "is not a result of `jaxcnn reproduce`: Invalid JSON"),
        ("{}", "is not a result of `jaxcnn reproduce`: Field required"),
        (
            made(images=9),
            "is of 9 images, centre crop 32 of 36, bilinear, and the published errors of 10, centre crop 32",
        ),
        (
            made(protocol="ten crops"),
            "is of 10 images, ten crops, and the published errors of 10, centre crop 32 of 36",
        ),
        (made(weights="torchvision/THEIRS"), "there are no weights 'torchvision/THEIRS' of resnet20_cifar"),
    ],
)
def test_results_that_are_none(content, sentence, somebodys, tmp_path):
    text = content if isinstance(content, str) else json.dumps(dataclasses.asdict(content))
    (tmp_path / "wrong.json").write_text(text)
    with pytest.raises(UserError, match=sentence):
        read(tmp_path)


def test_what_cannot_be_reproduced(tmp_path):
    with pytest.raises(UserError, match="there is no model 'resnet5': did you mean 'resnet50'"):
        reproduce("resnet5", None, DataConfig(), batch_size=1)
    with pytest.raises(UserError, match="there are no published weights of lenet, so there is nothing to reproduce"):
        reproduce("lenet", None, DataConfig(), batch_size=1)
    with pytest.raises(
        UserError, match=r"'x\.pth' does not name published weights of resnet18, to compare errors with"
    ):
        reproduce("resnet18", "x.pth", DataConfig(), batch_size=1)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file/resnet20_cifar_torchvision_OURS.json cannot be written: "):
        save(made(), tmp_path / "file")
