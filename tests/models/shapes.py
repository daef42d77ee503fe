"""What a network makes of images, as shapes: nothing is computed."""

import jax
import jax.numpy as jnp


def trace(model, size, train=False):
    """Traces a network's start on two square images of three channels.

    Returns:
        What it returns; its variables; and by the names of its own modules the (height, width, channels) that they
        return, (channels,) of those without pixels.
    """
    keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}

    def run(images):
        outputs, state = model.init_with_output(keys, images, train=train, capture_intermediates=True)
        return outputs, state.pop("intermediates"), state

    images = jax.ShapeDtypeStruct((2, size, size, 3), jnp.float32)
    outputs, intermediates, variables = jax.eval_shape(run, images)
    # Of the network itself there is only the call.
    maps = {name: each["__call__"][0].shape[1:] for name, each in intermediates.items() if name != "__call__"}
    return outputs, variables, maps


def size_of(tree):
    """Returns how many numbers a tree holds."""
    return sum(leaf.size for leaf in jax.tree.leaves(tree))
