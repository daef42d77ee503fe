"""A small network with one of each operation that has a derivative of its own, and that slices images."""

import functools

import flax.linen as nn

from jaxcnn.layers.blocks import Classifier, SqueezeExcite
from jaxcnn.layers.conv import ConvNormAct
from jaxcnn.models.network import BatchNormNetwork
from jaxcnn.ops.pool import adaptive_average_pool, average_pool, max_pool
from jaxcnn.ops.response_norm import local_response_norm


class Small(BatchNormNetwork):
    """One of each operation that has a derivative of its own."""

    @property
    def smallest_size(self):
        return 5

    @nn.compact
    def __call__(self, images, *, train=False):
        images = self.check(images, stages=0)
        unit = functools.partial(ConvNormAct, conv=self.conv(), norm=self.norm(train), activation=nn.silu)
        x = unit(4, (3, 3), strides=(2, 2), padding="same", name="stem")(images)
        x = local_response_norm(max_pool(x, (3, 3), strides=(1, 1), padding=((1, 1), (1, 1))))
        x = unit(4, (3, 3), padding="same", conv=self.conv(groups=4), name="depthwise")(x)
        x = unit(8, (3, 3), padding="same", conv=self.conv(groups=2), name="grouped")(x)
        x = SqueezeExcite(2, dtype=self.dtype, name="squeeze_excite")(average_pool(x, (2, 2), strides=(1, 1)))
        return Classifier(self.num_classes, train, dtype=self.dtype, name="head")(adaptive_average_pool(x, (2, 2)))
