"""The dense layer that every network uses."""

import functools

import flax.linen as nn

from jaxcnn.ops.product import dot_general

Dense = functools.partial(nn.Dense, dot_general=dot_general)
"""`flax.linen.Dense`, whose products of few rows are those of `jaxcnn.ops.product`."""
