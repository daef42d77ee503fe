"""The bytes that a step exchanges, against the formula: the gradient's, the batch statistics', and two numbers."""

import dataclasses
import functools
import gzip
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from jaxcnn.assembly import assemble
from jaxcnn.config import MixUpOrCutMix
from jaxcnn.devices.machines import machine
from jaxcnn.devices.parallel import DataParallel
from jaxcnn.devices.topologies import over_topology
from jaxcnn.laboratory.dry_run import compile_step, data_or_stand_in
from jaxcnn.laboratory.program import Program
from jaxcnn.laboratory.scaling import step_of
from jaxcnn.ops.backend import rules_of
from jaxcnn.ops.norm import batch_norm
from jaxcnn.recipes import load_config

RECIPES = Path(__file__).parent.parent / "recipes"
GOLDEN = Path(__file__).parent.parent / "golden"
LOSS_AND_ERRORS = 4 + 4
"""The sums that all devices add up: a float32 and an int32."""


def with_scope(config, wrapper, scope, batch_size):
    # Under other lowerings a gradient is computed in another shape, which is what is summed over the devices.
    model = dataclasses.replace(config.model, lowering="xla")
    parallel = dataclasses.replace(config.parallel, wrapper=wrapper, batch_norm=scope)
    data = dataclasses.replace(config.data, batch_size=batch_size)
    return dataclasses.replace(config, model=model, parallel=parallel, data=data)


def compiled(config, parallel, data=None):
    assembly = assemble(config, data, parallel)
    return assembly, Program.of(compile_step(assembly)[0])


def exchanged(program):
    return sum(kernel.count * kernel.collective.bytes for kernel in program.kernels if kernel.collective)


def size_of(tree):
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


@functools.cache
def tiny(devices, wrapper, scope):
    parallel = DataParallel.over(jax.devices()[:devices])
    return compiled(with_scope(load_config(RECIPES / "tiny.py"), wrapper, scope, 64), parallel)


@pytest.mark.parametrize(
    ("devices", "wrapper", "scope", "times"),
    [
        pytest.param(1, "jit", "global", None, marks=pytest.mark.slow),
        pytest.param(2, "jit", "global", 1, marks=pytest.mark.slow),
        (8, "jit", "global", 1),
        # The running statistics are the mean of those of all devices.
        pytest.param(8, "jit", "local", 1, marks=pytest.mark.slow),
        # Sums in a group forward and backward, and the mean over the groups.
        (8, "jit", 2, 3),
        # JAX averages twice, for the gradient of the input and of scale and bias, what under jit is averaged once.
        pytest.param(8, "shard_map", "global", 2, marks=pytest.mark.slow),
    ],
)
def test_a_step_exchanges_the_gradient_and_the_statistics(devices, wrapper, scope, times):
    assembly, program = tiny(devices, wrapper, scope)
    state = assembly.abstract_state
    expected = 0 if times is None else size_of(state.params) + times * size_of(state.batch_stats) + LOSS_AND_ERRORS
    assert exchanged(program) == expected
    assert program.devices == devices


@pytest.mark.parametrize(("scope", "waited"), [("global", 1), pytest.param("local", 0, marks=pytest.mark.slow)])
def test_the_forward_pass_waits_for_the_statistics_of_the_global_batch_alone(scope, waited):
    assembly, program = tiny(8, "jit", scope)
    step = step_of(program, machine("h100"), batch=8, devices=8, memory_bytes=0)
    blocking = [each.bytes for each in step.exchanges if each.blocking]
    assert sum(blocking) == waited * size_of(assembly.abstract_state.batch_stats)
    assert {each.chips for each in step.exchanges} == {None}
    assert step.compute_seconds() > 0


def test_groups_of_devices_stay_groups_of_chips():
    _, program = tiny(8, "jit", 2)
    step = step_of(program, machine("h100"), batch=8, devices=8, memory_bytes=0)
    assert {each.chips for each in step.exchanges if each.blocking} == {2}
    # The gradient's sums are over all chips; those of scale and bias first over a group, then over the 4 groups.
    assert {each.chips for each in step.exchanges} == {None, 2, 4}


@pytest.mark.parametrize(("name", "platform", "devices"), [("h100_8", "gpu", 8), ("v5e_2x2", "tpu", 4)])
def test_gpus_and_tpus_exchange_the_same_in_bfloat16(name, platform, devices):
    """Programs of the same network, which `tests/golden/make_programs.py` compiled for devices that are not there."""
    program = Program.parse(gzip.decompress((GOLDEN / f"program_{name}.txt.gz").read_bytes()).decode(), platform)
    assembly, _ = tiny(8, "jit", "global")
    statistics = size_of(assembly.abstract_state.batch_stats)
    # Gradients of scale and bias are summed in float32; those of kernels, and of the classifier, in bfloat16.
    gradient = statistics + (size_of(assembly.abstract_state.params) - statistics) // 2
    assert exchanged(program) == gradient + statistics + LOSS_AND_ERRORS
    assert program.devices == devices


@pytest.mark.parametrize("backend", ["cpu", "gpu"])
def test_devices_exchange_two_sums_of_each_channel_for_its_statistics(backend):
    mesh = DataParallel.over(jax.devices()[:8]).mesh
    by_image = jax.NamedSharding(mesh, jax.P(mesh.axis_names))
    x = jax.ShapeDtypeStruct((16, 8, 8, 32), jnp.float32, sharding=by_image)
    vector = jax.ShapeDtypeStruct((32,), jnp.float32, sharding=jax.NamedSharding(mesh, jax.P()))
    with rules_of(backend):
        step = jax.jit(functools.partial(batch_norm, epsilon=1e-5)).lower(x, vector, vector).compile()
    assert exchanged(Program.of(step)) == 2 * 4 * 32


@pytest.mark.slow
@pytest.mark.parametrize(
    ("package", "topology", "devices"),
    [
        *(("jax_plugins.xla_cuda13", name, size) for name, size in (("h100:1", 1), ("h100:8", 8), ("h100:8x8", 64))),
        ("jax_plugins.xla_cuda13", "h100:32x8", 256),
        *(("libtpu", name, size) for name, size in (("v5e:1x1", 1), ("v5e:2x4", 8), ("v5e:8x8", 64))),
        ("libtpu", "v5e:16x16", 256),
    ],
)
def test_resnet50_exchanges_the_same_bytes_over_any_number_of_devices(package, topology, devices, quick_compilation):
    pytest.importorskip(package)
    parallel = over_topology(topology)
    config = with_scope(load_config("resnet50_imagenet"), "jit", "global", 2 * devices)
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, dtype="bfloat16"))
    data, _ = data_or_stand_in(config.data)
    with rules_of(parallel.mesh.devices.flat[0].platform):
        assembly, program = compiled(config, parallel, data)
    assert program.devices == devices
    state = assembly.abstract_state
    statistics = size_of(state.batch_stats)
    # Gradients of scale and bias are summed in float32; those of kernels, and of the classifier, in bfloat16.
    gradient = statistics + (size_of(state.params) - statistics) // 2
    # Sums that are equal, of the biases of a projection and of the norm that it is added to, TPUs' compiler sums once.
    shared = 4 * (256 + 512 + 1024 + 2048) if topology.startswith("v5e") else 0
    # The variance once more, in the branch for a guess that is far off, which counts because it moves most.
    again = statistics // 2 if topology.startswith("v5e") else 0
    expected = gradient + statistics + again + LOSS_AND_ERRORS - shared
    assert exchanged(program) == (0 if devices == 1 else expected)


@pytest.mark.slow
@pytest.mark.parametrize("micro_batches", [1, 2])
def test_each_gpu_computes_its_own_part_of_a_batch_whose_images_are_mixed(micro_batches):
    """XLA's GPU backend would keep the whole batch on each device after they are mixed, and each would compute it."""
    pytest.importorskip("jax_plugins.xla_cuda13")
    config = with_scope(load_config(RECIPES / "tiny.py"), "jit", "global", 64)
    parallel = dataclasses.replace(config.parallel, micro_batches=micro_batches)
    found = []
    for augmentations in ((), (MixUpOrCutMix(),)):
        with rules_of("gpu"):
            _, program = compiled(
                dataclasses.replace(config, augmentations=augmentations, parallel=parallel), over_topology("h100:8")
            )
        found.append(program.multiply_adds)
        assert any(each.collective and each.phase == "backward" for each in program.kernels)
    assert found[1] == pytest.approx(found[0], rel=0.01)
