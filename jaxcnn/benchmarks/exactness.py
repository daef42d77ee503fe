"""How far logits and gradients on this process's device are from those on its CPU."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from jaxcnn.models.registry import create_model, get_variant
from jaxcnn.ops.backend import rules_of
from jaxcnn.types import JsonObject, PyTree

PRECISIONS = ("highest", "default")
"""The values of ``jax.default_matmul_precision`` that are compared: float32 throughout, and what the device does
by itself, which on a GPU is TF32 and on a TPU bfloat16 for products."""


def differences_from_cpu(name: str, *, size: int | None = None, batch: int = 4) -> JsonObject:
    """Returns how far a network's float32 logits and gradients on the default device are from those on the CPU.

    The tests hold the CPU's equal to the references'. Weights are the initial ones, images are noise, and dropout and
    stochastic depth draw alike on both. Gradients of a network at its start may hang on the last bits of the images, so
    the CPU is compared with itself too, on images each of whose pixels moved by one unit in the last place.

    Args:
        name: a name of ``jaxcnn.list_models()``.
        size: the height and width of the images in pixels; by default the network's own.
        batch: the number of images.

    Returns:
        For each of `PRECISIONS`, and for ``cpu``, which is the comparison of the CPU with itself: ``logits``, the
        largest difference as a share of the largest logit in evaluation, and ``gradients``, the norm of the difference
        of all gradients in training as a share of their norm.

    Raises:
        ModelError: the name is unknown.
    """
    variant, model = get_variant(name), create_model(name)
    size = size or variant.input_size
    images = jax.random.normal(jax.random.key(0), (batch, size, size, variant.channels))
    cpu, device = jax.devices("cpu")[0], jax.devices()[0]
    with jax.default_device(cpu), rules_of("cpu"):
        variables = jax.jit(model.init)(jax.random.key(1), images)
    expected = _computed(model.apply, variables, images, cpu, "highest")
    moved = jnp.nextafter(images, jnp.where(jax.random.bernoulli(jax.random.key(3), shape=images.shape), 9.0, -9.0))
    found = {"cpu": _differences(_computed(model.apply, variables, moved, cpu, "highest"), expected)}
    for precision in PRECISIONS:
        found[precision] = _differences(_computed(model.apply, variables, images, device, precision), expected)
    return found


def _differences(found: tuple[jax.Array, PyTree], expected: tuple[jax.Array, PyTree]) -> JsonObject:
    """Returns how far logits and gradients are from those that are expected."""
    difference = optax.tree.norm(jax.tree.map(jnp.subtract, found[1], expected[1]))
    return {
        "logits": float(jnp.abs(found[0] - expected[0]).max() / jnp.abs(expected[0]).max()),
        "gradients": float(difference / optax.tree.norm(expected[1])),
    }


def _computed(
    apply: Callable[..., PyTree], variables: PyTree, images: jax.Array, device: jax.Device, precision: str
) -> tuple[jax.Array, PyTree]:
    """Returns logits and gradients as they are on a device, on the CPU."""

    def loss(params: PyTree, variables: PyTree, images: jax.Array) -> jax.Array:
        outputs, _ = apply(
            {**variables, "params": params},
            images,
            train=True,
            mutable=["batch_stats"],
            rngs={"dropout": jax.random.key(2)},
        )
        logits = outputs[0] if isinstance(outputs, tuple) else outputs
        return optax.softmax_cross_entropy_with_integer_labels(logits, jnp.arange(len(images))).mean()

    with jax.default_device(device), rules_of(device.platform), jax.default_matmul_precision(precision):
        variables, images = jax.device_put((variables, images), device)
        logits = jax.jit(functools.partial(apply, train=False))(variables, images)
        gradients = jax.jit(jax.grad(loss))(variables["params"], variables, images)
    return jax.device_put((logits, gradients), jax.devices("cpu")[0])
