"""Weights as other libraries read them, and back."""

import json
import zipfile

import flax.traverse_util
import jax
import numpy as np
import pytest
import safetensors.numpy

import jaxcnn
from jaxcnn.config import CenterCrop, DataConfig, Normalization
from jaxcnn.errors import UserError
from jaxcnn.export.weights import export_weights
from jaxcnn.loading import what_weights_expect
from jaxcnn.trained import Measured, Origin, Trained
from jaxcnn.weights.load import load_pretrained, variable_shapes
from jaxcnn.weights.torch_save import save_state

NAME = "resnet20_cifar"
OPTIONS = {"zero_init_residual": True}
NORMALIZATION = Normalization(mean=(0.4, 0.5, 0.6), std=(0.3,))
ERRORS = Measured({"top1_error": 8.75}, "CIFAR-10, the whole image", "somebody")


@pytest.fixture(scope="module")
def network():
    """A network whose variables are drawn, so that nothing is compiled."""
    generator = np.random.default_rng(0)
    shapes = variable_shapes(NAME, {})
    flat = {path: generator.normal(size=leaf.shape).astype(np.float32) for path, leaf in shapes.items()}
    crop = CenterCrop(size=32, resize=40)
    return Trained(
        model=jaxcnn.create_model(NAME, **OPTIONS),
        variables=flax.traverse_util.unflatten_dict(flat, sep="/"),
        num_classes=10,
        class_names=tuple("abcdefghij"),
        data=DataConfig(train_crop=crop, evaluation_crop=crop),
        normalization=NORMALIZATION,
        origin=Origin(NAME, OPTIONS, "drawn", (ERRORS,)),
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
    again = jaxcnn.load(NAME, str(path))
    assert again.class_names == network.class_names
    assert again.preprocessing == network.preprocessing
    assert again.origin == Origin(NAME, OPTIONS, path.name, (ERRORS,))
    assert again.model.zero_init_residual is True
    assert what_weights_expect(NAME, str(path)).normalization == NORMALIZATION  # with which it is fine-tuned


def test_a_network_without_a_name_is_refused(network, tmp_path):
    nameless = Trained(network.model, network.variables, 10, None, network.data, network.normalization)
    with pytest.raises(UserError, match="none that was loaded by its name: load a run, or a model with weights"):
        export_weights(nameless, tmp_path / "w.pth", "pth")


def test_facts_that_are_not_ours_are_refused(network, tmp_path):
    arrays = {"params/x": np.zeros(3, np.float32)}
    for stored in ("{}", "[]", '{"expects": {"crop": 3}}', "no JSON"):
        safetensors.numpy.save_file(arrays, tmp_path / "w.safetensors", {"jaxcnn": stored})
        with pytest.raises(
            UserError, match=r"does not say of its network what `jaxcnn export` says .*: export it again"
        ):
            jaxcnn.load(NAME, str(tmp_path / "w.safetensors"))
        save_state(tmp_path / "w.pth", arrays, stored)
        with pytest.raises(UserError, match=r"w.pth does not say of its network what `jaxcnn export` says"):
            jaxcnn.load(NAME, str(tmp_path / "w.pth"))


def test_facts_of_another_network_bring_no_options(network, tmp_path):
    export_weights(network, tmp_path / "w.pth", "pth")
    expected = what_weights_expect("resnet32_cifar", str(tmp_path / "w.pth"))
    assert (expected.options, expected.normalization, expected.crop.size) == ({}, NORMALIZATION, 32)
