"""Weights as other libraries read them, and back."""

import json
import zipfile

import flax.traverse_util
import jax
import numpy as np
import pytest
import safetensors

import jaxcnn
from jaxcnn.config import CenterCrop, DataConfig, Normalization
from jaxcnn.errors import UserError
from jaxcnn.export.weights import export_weights
from jaxcnn.trained import Measured, Origin, Trained
from jaxcnn.weights.load import load_pretrained, variable_shapes

NAME = "resnet20_cifar"
ERRORS = Measured({"top1_error": 8.75}, "CIFAR-10, the whole image", "somebody")


@pytest.fixture(scope="module")
def network():
    """A network whose variables are drawn, so that nothing is compiled."""
    generator = np.random.default_rng(0)
    shapes = variable_shapes(NAME, {})
    flat = {path: generator.normal(size=leaf.shape).astype(np.float32) for path, leaf in shapes.items()}
    crop = CenterCrop(size=32, resize=40)
    return Trained(
        model=jaxcnn.create_model(NAME),
        variables=flax.traverse_util.unflatten_dict(flat, sep="/"),
        num_classes=10,
        class_names=tuple("abcdefghij"),
        data=DataConfig(train_crop=crop, evaluation_crop=crop),
        normalization=Normalization(),
        origin=Origin(NAME, {}, "drawn", (ERRORS,)),
    )


def facts_in(path):
    if path.suffix == ".pth":
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read("archive/about.json"))
    with safetensors.safe_open(path, "numpy") as file:
        assert file.metadata()["format"] == "pt"
        return json.loads(file.metadata()["jaxcnn"])


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("format", "names"),
    [
        ("pth", "torchvision"),
        pytest.param("safetensors", "timm", marks=SLOW),
        pytest.param("safetensors", "jaxcnn", marks=SLOW),
    ],
)
def test_what_is_written_loads_as_the_same_network(network, tmp_path, format, names):
    path = tmp_path / f"weights.{format}"
    assert "bit for bit" in export_weights(network, path, format, names)
    jax.tree.map(np.testing.assert_array_equal, load_pretrained(NAME, path), dict(network.variables))
    facts = facts_in(path)
    assert facts["class_names"] == list("abcdefghij")
    assert facts["expects"]["crop"] == {"size": 32, "resize": 40, "interpolation": "bilinear", "kind": "center_crop"}
    assert facts["errors"] == [ERRORS._asdict()]
    assert facts["source"] == "drawn"
    assert facts["versions"]["jax"] == jax.__version__
    if format == "safetensors":
        assert jaxcnn.load(NAME, str(path)).class_names == tuple("abcdefghij")


def test_a_network_without_a_name_is_refused(network, tmp_path):
    nameless = Trained(network.model, network.variables, 10, None, network.data, network.normalization)
    with pytest.raises(UserError, match="none that was loaded by its name: load a run, or a model with weights"):
        export_weights(nameless, tmp_path / "w.pth", "pth")
