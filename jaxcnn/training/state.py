"""The state of training: all that changes from step to step. With the config it is all that is needed to go on."""

import dataclasses
from typing import Never

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax

from jaxcnn.errors import UserError
from jaxcnn.training.loss_scale import LossScale, initial_loss_scale
from jaxcnn.training.partition import Partition
from jaxcnn.types import PyTree, Variables


@flax.struct.dataclass
class TrainState:
    """A pytree of the step, the parameters, the batch statistics, the optimizer's state, and what else a run keeps."""

    step: jax.Array
    """The number of updates that have been made, () int32."""
    params: PyTree
    batch_stats: PyTree
    """The running statistics; empty for a network without batch normalization."""
    optimizer_state: optax.OptState
    ema: PyTree = flax.struct.field(default_factory=dict)
    """The moving average of `variables`, in the same layout; empty where none is kept."""
    loss_scale: LossScale | dict[str, Never] = flax.struct.field(default_factory=dict)
    """A `LossScale`; empty where the loss is not scaled."""

    @property
    def variables(self) -> Variables:
        """The variables that ``model.apply`` takes."""
        return {"params": self.params, "batch_stats": self.batch_stats}


def create_state(
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    key: jax.Array,
    image_shape: tuple[int, int, int],
    *,
    partition: Partition | None = None,
    ema: bool = False,
    loss_scale: bool = False,
) -> TrainState:
    """Returns the state before the first step. The function is pure, so `jax.eval_shape` gives the abstract state.

    Args:
        model: the network, which is called as ``model(images, train=...)``.
        optimizer: the optimizer that `make_optimizer` returned.
        key: the key from which the initial parameters are drawn.
        image_shape: the images' (height, width, channels).
        partition: which parameters are trained, for which the optimizer keeps its state; by default all.
        ema: whether a moving average is kept; it starts as the initial variables.
        loss_scale: whether the loss is scaled.

    Raises:
        UserError: the network cannot take images of this shape.
    """
    try:
        variables = model.init(key, jnp.zeros((1, *image_shape)), train=False)
    except ValueError as error:
        shape = "x".join(map(str, image_shape))
        raise UserError(f"{type(model).__name__} cannot take images of {shape}: {error}") from error
    params = variables["params"]
    optimizer_state = optimizer.init(params if partition is None else partition.trained(params))
    state = TrainState(jnp.zeros((), jnp.int32), params, variables.get("batch_stats", {}), optimizer_state)
    average, scale = state.variables if ema else {}, initial_loss_scale() if loss_scale else {}
    return dataclasses.replace(state, ema=average, loss_scale=scale)
