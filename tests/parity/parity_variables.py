"""A reference's state dict as variables of ours."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import flax.traverse_util
import jax

from jaxcnn.models.variant import Rule
from jaxcnn.weights.load import convert


def variables_of(model: nn.Module, images: Any, rules: tuple[Rule, ...], state: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the variables that ``model.apply`` takes; ``images`` give the shape of its input."""
    with jax.enable_x64(True):  # a network that computes in float64 must find it
        variables = jax.eval_shape(model.init, jax.random.key(0), images)
    shapes = flax.traverse_util.flatten_dict(variables, sep="/")
    return flax.traverse_util.unflatten_dict(convert(state, rules, shapes), sep="/")
