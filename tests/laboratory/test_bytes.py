"""A training step for an H100 that is not here reads and writes less than the same on flax.linen's own layers."""

import contextlib

import jax
import jax.numpy as jnp
import pytest

from jaxcnn.config import SGD
from jaxcnn.devices.feed import images_and_labels
from jaxcnn.devices.topologies import over_topology
from jaxcnn.laboratory.program import Program
from jaxcnn.models.registry import create_model
from jaxcnn.ops.backend import rules_of
from jaxcnn.plain_flax import plain_flax
from jaxcnn.training.losses import softmax_cross_entropy
from jaxcnn.training.optimizer import make_optimizer
from jaxcnn.training.state import create_state
from jaxcnn.training.step import make_train_step, zero_totals


def step_of(name, batch, size, parallel, **options):
    """The kernels of a training step."""
    model = create_model(name, dtype=jnp.bfloat16).clone(**options)
    _, optimizer = make_optimizer(SGD(learning_rate=0.1), 100.0, 1000)
    state = jax.eval_shape(lambda: create_state(model, optimizer, jax.random.key(0), (size, size, 3)))
    step = make_train_step(
        apply=model.apply,
        prepare=images_and_labels,
        loss=softmax_cross_entropy,
        optimizer=optimizer,
        dropout_key=jax.random.key(1),
        parallel=parallel,
    )
    images = {
        "image": jax.ShapeDtypeStruct((batch, size, size, 3), jnp.float32),
        "label": jax.ShapeDtypeStruct((batch,), jnp.int32),
    }

    def over(tree, sharding):
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), tree)

    totals = jax.eval_shape(zero_totals)
    arguments = (over(state, parallel.replicated), over(totals, parallel.replicated), over(images, parallel.split))
    return Program.of(step.lower(*arguments).compile()).kernels


def moved(kernels):
    """The bytes that kernels read and write."""
    return sum(kernel.bytes_read + kernel.bytes_written for kernel in kernels)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options", "size", "share"),
    [
        ("resnet50", {"stage_sizes": (2, 1)}, 112, 0.95),
        ("densenet121", {"stage_sizes": (2, 1)}, 112, 1.0),
    ],
)
def test_a_step_moves_less_than_one_on_plain_flax(name, options, size, share):
    pytest.importorskip("jax_plugins.xla_cuda13")
    parallel = over_topology("h100:1")
    found = []
    for layers in (contextlib.nullcontext, plain_flax):
        with rules_of("gpu"), layers():
            found.append(step_of(name, 64, size, parallel, **options))
    ours, plain = found
    assert moved(ours) < share * moved(plain)
    # Parameters and the optimizer's state are updated in place.
    assert not [kernel.name for kernel in ours if kernel.opcode == "copy" and kernel.bytes_written > 100_000]
