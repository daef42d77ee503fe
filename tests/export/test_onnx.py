"""Graphs of ONNX: alike to their network in onnxruntime, for any number of images, one variant of every family."""

import dataclasses
import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jaxcnn
from jaxcnn.config import CenterCrop, Normalization
from jaxcnn.errors import UserError
from jaxcnn.export import compared
from jaxcnn.export.programs import program_of
from jaxcnn.loading import load
from jaxcnn.models.registry import get_variant
from jaxcnn.ops.pool import average_pool, max_pool
from jaxcnn.ops.window import subsample
from jaxcnn.tables.families import our_families
from tests.export.tiny import Tiny, trained

onnx = pytest.importorskip("onnx", reason="jaxcnn[onnx] is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="jaxcnn[onnx] is not installed")

from jaxcnn.export.onnx import export_onnx  # noqa: E402

FAMILIES = {
    "alexnet": 64,
    "bn_inception": 64,
    "convnext_tiny": 32,
    "densenet40_k12_cifar": 32,
    "efficientnet_b0": 32,
    "googlenet": 64,
    "inception_v3": 75,
    "lenet5": 32,
    "nasnet_a_cifar": 32,
    "regnet_y_400mf": 32,
    "resnext50_32x4d": 32,
    "vgg11_bn": 32,
}
"""One variant of every family, and the size of the images that it is tried on."""
SUMS = {"resnext50_32x4d": 1, "nasnet_a_cifar": 0.7}
"""The gain of convolutions in networks of many sums, whose logits would grow into the thousands with the usual one."""


@pytest.fixture(scope="module")
def small():
    return trained(Tiny(3), 9, 3)


def session(path):
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("pixels", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_graph_predicts_as_its_network(small, tmp_path, pixels):
    path, photo = tmp_path / "small.onnx", np.random.default_rng(1).integers(0, 256, (20, 30, 3), np.uint8)
    said = export_onnx(small, path, pixels=pixels)
    assert said.startswith("a graph for images of 9x9 pixels, which differs from the network in onnxruntime by ")
    program = load(path)
    (found,), (expected,) = program.predict([photo], top_k=3), small.predict([photo], top_k=3)
    assert [name for name, _ in found] == [name for name, _ in expected]
    np.testing.assert_allclose([p for _, p in found], [p for _, p in expected], atol=1e-5)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    facts = json.loads(session(path).get_modelmeta().custom_metadata_map["jaxcnn"])
    assert facts["class_names"] == ["class 0", "class 1", "class 2"]
    assert facts["expects"]["normalization"] == {"mean": [0.4], "std": [0.3]}
    (given,), (result,) = session(path).get_inputs(), session(path).get_outputs()
    kind = ("pixels", "tensor(uint8)", "probabilities") if pixels else ("images", "tensor(float)", "logits")
    assert (given.name, given.type, result.name) == kind
    assert (given.shape, result.shape) == (["batch", 9, 9, 3], ["batch", 3])


class Operations(nn.Module):
    """Networks of one operation or a few; the results of all are stacked."""

    num_classes: int = 24

    @nn.compact
    def __call__(self, images, *, train=False):
        moved = images.transpose(0, 3, 1, 2)
        maps = [
            nn.Conv(4, (3, 2), strides=(2, 1), padding=((0, 2), (1, 0)), kernel_dilation=(1, 2))(images),
            nn.Conv(6, (3, 3), feature_group_count=3, padding="SAME")(images),
            max_pool(images, (3, 2), strides=(2, 1), padding=((1, 1), (0, 0)), ceil_mode=True),
            max_pool(moved, (3, 1), strides=(2, 1)),
            average_pool(images, (2, 3), strides=(1, 2), padding=((1, 1), (1, 1)), count_padding=True),
            average_pool(images, (3, 3), strides=(2, 2), padding="same"),
            lax.reduce_window(images, 0.0, lax.add, (1, 1, 1, 2), (1, 1, 1, 1), "SAME"),
            lax.pad(images, 0.5, ((0, 0, 0), (-1, 2, 0), (1, 0, 0), (0, 1, 0))),
            jnp.concatenate([images, images * images[:, 2:3, 1:5].sum((1, 2), keepdims=True)], 3),
            jnp.stack([images[:, 3, 1:5], images[:, 2, 2:6] * 2], 2),
            subsample(images, (2, 1)),
            moved.reshape(images.shape[0], -1, 7),
            nn.LayerNorm()(images),
            nn.softmax(images),
            nn.Dense(5)(images.mean((1, 2))) @ jnp.arange(20.0).reshape(4, 5).T,
            nn.gelu(images) + nn.gelu(images, approximate=False),
            nn.silu(images) + nn.relu6(images) + nn.hard_swish(images),
            jnp.tanh(images) - images**3 - images**0.5 - jnp.square(images),
            jnp.log(jnp.abs(images) + 1) + jnp.sqrt(lax.clamp(0.5, images, 0.9)) + lax.rsqrt(images + 3),
            jnp.where(images > 0.2, images, 1) + jnp.where(images <= 0.1, 2, images),
            jnp.where(images >= 0.2, images, 1) + jnp.where(images < 0.1, 2, images),
            jnp.where(images == images.max((1, 2), keepdims=True), images, jnp.minimum(images, 0.1)),
            (images > 0.3).astype(jnp.int32).sum((1, 2, 3)).astype(jnp.float32)[:, None],
            lax.erf(images) / (jnp.exp(-images) + 2),
        ]
        # Each element has a weight of its own, so that none may be where another should.
        flat = [each.reshape(each.shape[0], -1) for each in maps]
        weights = [jax.random.normal(jax.random.key(0), (each.shape[1], 1)) / each.shape[1] for each in flat]
        return jnp.concatenate([each @ by for each, by in zip(flat, weights, strict=True)], 1)


@pytest.mark.slow
def test_all_operations_are_those_of_jax(tmp_path):
    network = trained(Operations(), 7, 3)
    network = dataclasses.replace(network, normalization=Normalization(mean=(0,), std=(1,)))  # roots are of 0 to 1
    export_onnx(network, tmp_path / "all.onnx", pixels=False)
    images = compared.made_images((2, 7, 7, 3), network, pixels=False)
    (found,) = session(tmp_path / "all.onnx").run(None, {"images": images})
    expected = jax.jit(network.model.apply)(network.variables, images)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    written = {node.op_type for node in onnx.load(tmp_path / "all.onnx").graph.node}
    assert {"Conv", "MaxPool", "AveragePool", "Erf", "Where", "Pad", "Slice", "Squeeze"} <= written


class Sorting(nn.Module):
    num_classes: int = 3

    @nn.compact
    def __call__(self, images, *, train=False):
        return jnp.sort(images.mean((1, 2)))


def test_an_operation_that_is_not_written_is_named(tmp_path):
    with pytest.raises(UserError, match=r"computes sort, which is not written as ONNX: use --format stablehlo"):
        export_onnx(trained(Sorting(), 4, 3), tmp_path / "sorting.onnx", pixels=True)


def test_a_graph_that_differs_is_refused(small, tmp_path, monkeypatch):
    monkeypatch.setattr(compared, "CLOSE", -1.0)
    with pytest.raises(UserError, match=r"differs from the network by .*: use its weights alone, with --format"):
        export_onnx(small, tmp_path / "small.onnx", pixels=True)


def test_what_is_no_graph_of_ours_is_refused(small, tmp_path):
    path = tmp_path / "x.onnx"
    for content in (b"", b"PK", bytes(100)):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"is not a graph that `jaxcnn export` wrote .*: export it anew"):
            load(path)
    export_onnx(small, path, pixels=True)
    model = onnx.load(path)
    (facts,) = model.metadata_props
    facts.value = facts.value.replace('"size": 9', '"size": 8')
    onnx.save(model, path)
    with pytest.raises(UserError, match=r"is a graph of tensor\(uint8\) \['batch', 9, 9, 3\] to .*: export it anew"):
        load(path)
    del model.metadata_props[:]
    onnx.save(model, path)
    with pytest.raises(UserError, match=r"is not a graph that `jaxcnn export` wrote"):
        load(path)


def test_without_its_packages_the_way_out_is_named(small, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"graphs of ONNX need onnx: install jaxcnn\[onnx\]"):
        export_onnx(small, tmp_path / "small.onnx", pixels=True)
    (tmp_path / "small.onnx").touch()
    with pytest.raises(UserError, match=r"graphs of ONNX need onnxruntime: install jaxcnn\[onnx\]"):
        load(tmp_path / "small.onnx")


@pytest.mark.slow
def test_images_of_another_size_are_refused(small, tmp_path):
    export_onnx(small, tmp_path / "small.onnx", pixels=True)
    program = load(tmp_path / "small.onnx")
    crop = CenterCrop(size=8, resize=8)
    other = dataclasses.replace(program, data=dataclasses.replace(program.data, evaluation_crop=crop))
    with pytest.raises(UserError, match=r"images of 8x8x3 .* do not fit this network: the graph takes images of 9x9x3"):
        other.predict([np.zeros((8, 8, 3), np.uint8)])


@pytest.mark.parametrize("name", sorted(FAMILIES))
@pytest.mark.slow
def test_one_variant_of_every_family_is_within_1e_4_of_ours(name, tmp_path):
    path, variant = tmp_path / f"{name}.onnx", get_variant(name)
    model = jaxcnn.create_model(name, num_classes=10)
    network = trained(model, FAMILIES[name], variant.channels, name, gain=SUMS.get(name, 2))
    said = export_onnx(network, path, pixels=False)
    assert "graph for images" in said
    onnx.checker.check_model(onnx.load(path), full_check=True)
    images = compared.made_images((3, FAMILIES[name], FAMILIES[name], variant.channels), network, pixels=False)
    (found,) = session(path).run(None, {"images": images})
    expected = jax.jit(program_of(network, pixels=False))(images)
    largest = np.abs(expected).max()
    print(f"{name}: differs by {np.abs(found - expected).max():.1e}, logits up to {largest:.1e}")
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
    assert 0.01 < largest < 100


def test_no_family_is_left_out():
    assert {get_variant(name).family for name in FAMILIES} == set(our_families())
