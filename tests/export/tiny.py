"""The smallest networks that can be exported."""

import functools
import math

import flax.linen as nn
import jax
import numpy as np

from jaxcnn.config import CenterCrop, DataConfig, Normalization
from jaxcnn.ops.conv import conv2d
from jaxcnn.trained import Origin, Trained


class Tiny(nn.Module):
    """The smallest network that sees where in an image something is."""

    num_classes: int

    @nn.compact
    def __call__(self, images, *, train=False):
        x = conv2d(images, self.param("kernel", nn.initializers.normal(), (3, 3, 3, 4)), padding="same")
        return nn.Dense(self.num_classes)(nn.relu(x).mean((1, 2)))


def drawn(path, leaf, gain=2):
    """Returns a variable with which maps neither vanish nor explode, where a convolution's gain fits its network."""
    generator, name = np.random.default_rng(math.prod(leaf.shape)), jax.tree_util.keystr(path)
    if "var" in name:
        return generator.uniform(0.5, 1.5, leaf.shape).astype(np.float32)
    if leaf.ndim < 2:
        return (("scale" in name) + generator.normal(0, 0.1, leaf.shape)).astype(np.float32)
    gain = gain if leaf.ndim == 4 else 0.5
    return generator.normal(0, (gain / math.prod(leaf.shape[:-1])) ** 0.5, leaf.shape).astype(np.float32)


def trained(model, size, channels, name="small", gain=2):
    """Returns a network with drawn variables, for images of that size. Nothing is compiled.

    The gain is that of a convolution, in variance: 2 keeps it through a ReLU, and sums of branches need less.
    """
    init = functools.partial(model.init, train=False)
    shapes = jax.eval_shape(init, jax.random.key(0), jax.ShapeDtypeStruct((1, size, size, channels), np.float32))
    variables = jax.tree_util.tree_map_with_path(functools.partial(drawn, gain=gain), shapes)
    crop = CenterCrop(size=size, resize=size)
    return Trained(
        model=model,
        variables=variables,
        num_classes=model.num_classes,
        class_names=tuple(f"class {i}" for i in range(model.num_classes)),
        data=DataConfig(train_crop=crop, evaluation_crop=crop, channels=channels),
        normalization=Normalization(mean=(0.4,), std=(0.3,)),
        origin=Origin(name, {}, "drawn"),
    )
