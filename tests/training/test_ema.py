import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.config import EMAConfig
from jaxcnn.training.ema import effective_decay, make_average


def path(config, values, warmup_steps=0):
    """The average after each step, from 0, of a parameter that takes these values."""
    average = make_average(config, batch_size=4, epochs=2.0, warmup_steps=warmup_steps)
    ema, found = {"params": jnp.zeros(()), "batch_stats": {}}, []
    for step, value in enumerate(values):
        ema = average(jnp.array(step), ema, {"params": jnp.array(value, jnp.float32), "batch_stats": {}})
        found.append(float(ema["params"]))
    return found


def test_none_is_kept_unless_asked_for():
    assert make_average(EMAConfig(), batch_size=4, epochs=2.0, warmup_steps=0) is None


@pytest.mark.parametrize(
    ("config", "warmup_steps", "expected"),
    [
        (EMAConfig(decay=0.75), 0, [2.0, 3.5, 2.625, 3.96875]),
        (EMAConfig(decay=0.75, every_steps=2), 0, [2.0, 2.0, 1.5, 1.5]),
        # (1 - 0.9375) * 4 * 2 / 2 is 0.25 again.
        (EMAConfig(decay=0.9375, every_steps=2, rescaled=True), 0, [2.0, 2.0, 1.5, 1.5]),
        # Steps 0 and 1 are warm-up, and the update after it is a copy, too.
        (EMAConfig(decay=0.75, in_warmup="copy"), 2, [8.0, 8.0, 0.0, 2.0]),
        (EMAConfig(decay=0.75, every_steps=2, in_warmup="copy"), 1, [8.0, 8.0, 0.0, 0.0]),
        (EMAConfig(decay=0.75, every_steps=2, in_warmup="copy"), 0, [8.0, 8.0, 6.0, 6.0]),
    ],
)
def test_averages_worked_out_by_hand(config, warmup_steps, expected):
    np.testing.assert_allclose(path(config, [8.0, 8.0, 0.0, 8.0], warmup_steps), expected, rtol=1e-6)


def test_the_decay_of_torchvisions_600_epochs():
    """1 - (1 - 0.99998) * 1024 * 32 / 600, every 32 steps: the formula of references/classification/train.py."""
    config = EMAConfig(decay=0.99998, every_steps=32, rescaled=True)
    assert effective_decay(config, 1024, 600.0) == pytest.approx(0.998908, abs=5e-7)
    assert effective_decay(config, 1 << 20, 1.0) == 0.0  # never below
