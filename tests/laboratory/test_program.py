"""Whole programs: stored ones for devices that are not there (see tests/golden/make_programs.py), and the CPU's own."""

import functools
import gzip
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from jaxcnn.laboratory.op_names import PHASES
from jaxcnn.laboratory.program import KINDS, Program
from jaxcnn.models.registry import create_model, get_variant
from jaxcnn.recipes import load_config
from jaxcnn.tables.networks import count, counted

TESTS = Path(__file__).parent.parent
STORED = {path.name.removeprefix("program_").removesuffix(".txt.gz") for path in TESTS.glob("golden/program_*.gz")}
PLATFORMS = {"cpu": "cpu", "h100_8": "gpu", "h100_2x8_groups": "gpu", "v5e_2x2": "tpu"}
ELSEWHERE = [name for name in PLATFORMS if name != "cpu"]
IMAGES = 64


@functools.cache
def stored(name):
    text = gzip.decompress((TESTS / "golden" / f"program_{name}.txt.gz").read_bytes()).decode()
    return Program.parse(text, PLATFORMS[name])


@functools.cache
def tiny():
    """The shapes of the variables of the network that the stored programs train."""
    load_config(TESTS / "recipes" / "tiny.py")
    model = create_model("tiny")
    return jax.eval_shape(lambda key: model.init(key, jnp.zeros((1, 8, 8, 1)), train=False), jax.random.key(0))


def paths(tree, before=""):
    for name, inner in tree.items():
        if isinstance(inner, dict):
            yield f"{before}{name}"
            yield from paths(inner, f"{before}{name}/")


def test_each_program_is_tried():
    assert set(PLATFORMS) == STORED


@pytest.mark.parametrize("name", PLATFORMS)
def test_layers_and_phases_of_a_step(name):
    program = stored(name)
    assert program.devices == {"cpu": 1, "h100_8": 8, "h100_2x8_groups": 16, "v5e_2x2": 4}[name]
    assert {each.kind for each in program.kernels} <= set(KINDS)
    assert {each.phase for each in program.kernels} - {"other"} == set(PHASES) - {"other"}
    # What is in no phase folds keys and adds up counts, of which a TPU pads each to 512 bytes.
    others = [each for each in program.kernels if each.phase == "other"]
    assert max(each.bytes for each in others) <= 3 * 512
    assert not any(each.multiply_adds for each in others)
    layers = {each.layer for each in program.kernels}
    assert layers <= {"", *paths(tiny()["params"])}
    products = {each.layer for each in program.kernels if each.kind in ("convolution", "product")}
    assert products == {"conv1", "stage1_block0/conv1", "stage1_block0/conv2", "classifier/dense"}
    assert program.loops_without_count == program.conditionals == ()


PIXELS = 8 * 8
PRODUCTS = {
    "conv1": PIXELS * 9 * 4,
    "stage1_block0/conv1": PIXELS * 9 * 4 * 4,
    "stage1_block0/conv2": PIXELS * 9 * 4 * 4,
    "classifier/dense": 4 * 10,
}
"""The multiply-adds of each layer for one image."""


@pytest.mark.parametrize("name", ELSEWHERE)
@pytest.mark.parametrize("layer", PRODUCTS)
def test_the_products_of_a_step_are_the_networks_own(name, layer):
    """Forward, and for the two gradients, of which that of the images is not needed."""
    program = stored(name)
    assert sum(PRODUCTS.values()) == count("tiny").multiply_adds
    found = {"forward": 0, "backward": 0}
    for each in program.kernels:
        if each.multiply_adds and each.layer == layer:
            found[each.phase] += each.count * each.multiply_adds
            assert each.dtype == "bfloat16"
    one = PRODUCTS[layer] * IMAGES // program.devices
    expected = {"forward": one, "backward": one if layer == "conv1" else 2 * one}
    if layer == "classifier/dense" and program.platform == "gpu":  # XLA pads matrices for cuBLAS to whole tiles
        assert all(found[phase] >= expected[phase] for phase in expected)
    else:
        assert found == expected


CHANNELS = 3 * 4
"""The channels of all batch normalizations together."""


@pytest.mark.parametrize(
    ("name", "group"), [("h100_8", range(8)), ("h100_2x8_groups", range(4)), ("v5e_2x2", range(4))]
)
def test_what_devices_exchange(name, group):
    """The gradient once in a step, and the sums of batch normalization, forward and backward."""
    program = stored(name)
    exchanges = [each for each in program.kernels if each.collective]
    assert {each.collective.operation for each in exchanges} == {"all-reduce"}
    everybody = (tuple(range(program.devices)),)
    sums = 2 * 4 * CHANNELS
    forward = [each for each in exchanges if each.phase == "forward" and each.collective.groups[0] == tuple(group)]
    assert sum(each.collective.bytes for each in forward) == sums
    # Kernels' and the classifier's gradients are summed in the type in which they were computed; those of scale and
    # bias, in float32, are the sums that the backward pass of batch normalization needs anyway.
    kernels = 2 * sum(leaf.size for leaf in jax.tree.leaves(tiny()["params"]) if leaf.ndim > 1) + 2 * 10
    whole = sum(each.collective.bytes for each in exchanges if each.collective.groups == everybody)
    other = sum(each.collective.bytes for each in exchanges) - whole
    if name == "h100_2x8_groups":
        # Of a micro-batch, each group sums for itself; the running statistics' mean is of all groups.
        assert {each.count for each in exchanges if each.collective.groups[0] == tuple(group)} == {2}
        across = tuple(range(0, 16, 4))
        assert any(each.collective.groups[0] == across for each in exchanges)
        assert whole == pytest.approx(kernels, abs=64)
        assert other >= 2 * sums
    else:
        assert other == 0
        # Equal sums are exchanged once where the compiler sees it; loss and wrong answers are numbers.
        assert whole == pytest.approx(kernels + 2 * sums, abs=64)


FLOPS = json.loads((TESTS / "golden" / "program_flops.json").read_text())


@pytest.mark.parametrize("name", [name for name in PLATFORMS if FLOPS.get(name)])
def test_arithmetic_is_what_the_compiler_counted(name):
    """It counts loops once, with their conditions, and differs by a few numbers; compilers for GPUs count nothing."""
    assert sum(each.flops for each in stored(name).kernels) == pytest.approx(FLOPS[name], rel=1e-3)


def test_micro_batches_are_trips_of_a_loop():
    counts = {each.count for each in stored("h100_2x8_groups").kernels if each.kind == "convolution"}
    assert counts == {2}


COUNTED = ["lenet", "resnet20_cifar"]
ALSO_COUNTED = ["alexnet", "vgg11_bn", "googlenet", "inception_v3", "resnext50_32x4d", "densenet121", "convnext_tiny"]
ALSO_COUNTED += ["regnet_y_400mf", "efficientnet_b0", "nasnet_a_mobile", "resnet50", "bn_inception"]


@pytest.mark.parametrize("name", [*COUNTED, *(pytest.param(name, marks=pytest.mark.slow) for name in ALSO_COUNTED)])
def test_products_and_arithmetic_are_those_that_are_counted(name):
    """The first against the network's own count, which papers print; all against the compiler's."""
    variant = get_variant(name)
    model = create_model(name, lowering="xla")
    images = jax.ShapeDtypeStruct((2, variant.input_size, variant.input_size, variant.channels), jnp.float32)
    variables = jax.eval_shape(lambda key, x: model.init(key, x, train=False), jax.random.key(0), images)
    compiled = jax.jit(functools.partial(model.apply, train=False)).lower(variables, images).compile()
    program = Program.of(compiled)
    assert program.platform == "cpu"
    assert program.multiply_adds == 2 * counted()[name].multiply_adds
    known = compiled.cost_analysis()
    # The compiler adds up in float32.
    assert program.flops == pytest.approx(known["flops"], rel=2e-6)
    # The compiler counts whole operands where a fusion reads slices of them.
    assert 0.7 * known["bytes accessed"] < program.bytes < 1.001 * known["bytes accessed"]
    assert {each.phase for each in program.kernels} <= {"forward", "other"}
