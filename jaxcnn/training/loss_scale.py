"""Dynamic loss scaling, for float16, whose smallest normal number is 6e-5.

The loss is multiplied by a scale before it is differentiated, and the gradient is divided by it afterwards. The scale
is halved whenever a gradient overflows, and doubled after `PATIENCE` steps in a row without an overflow (Micikevicius
et al., arXiv:1710.03740, section 3.2). The paper leaves the numbers open; they are those of ``torch.amp.GradScaler``.
"""

import flax.struct
import jax
import jax.numpy as jnp

PATIENCE = 2000
"""The number of steps in a row without an overflow after which the scale is doubled."""


@flax.struct.dataclass
class LossScale:
    """The scale of the loss, as a part of the training state."""

    scale: jax.Array
    """The scale, () float32: a power of two from 1 to 2^24."""
    good_steps: jax.Array
    """The number of steps without an overflow since the scale last changed, () int32."""

    def after(self, good: jax.Array) -> "LossScale":
        """Returns the scale for the next step, given whether this step's gradient was finite."""
        counted = jnp.where(good, self.good_steps + 1, 0)
        grown = counted == PATIENCE
        factor = jnp.where(good, jnp.where(grown, 2.0, 1.0), 0.5)
        return LossScale(jnp.clip(self.scale * factor, 1.0, 2.0**24), jnp.where(grown, 0, counted))


def initial_loss_scale() -> LossScale:
    """Returns the scale of the first step, 65,536."""
    return LossScale(jnp.full((), 2.0**16), jnp.zeros((), jnp.int32))
