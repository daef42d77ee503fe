import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.augment import color, warp
from jaxcnn.augment.rows import row_by_row

IMAGES = jnp.asarray(np.random.default_rng(0).integers(0, 100, (3, 24, 20, 3)), jnp.uint8)
MATRICES = jnp.asarray(np.random.default_rng(1).normal(np.eye(2, 3), 0.2, (3, 2, 3)), jnp.float32)


@pytest.mark.parametrize(
    ("module", "run"),
    [
        (color, lambda: color.equalize(IMAGES)),
        (warp, lambda: warp.warp(IMAGES, MATRICES, interpolation="nearest")),
        (warp, lambda: warp.warp(IMAGES, MATRICES, interpolation="bilinear", fill=(1, 2, 3))),
    ],
)
def test_rows_one_after_the_other_are_the_whole_image(module, run, monkeypatch):
    whole = run()
    assert (whole != IMAGES).any()
    monkeypatch.setattr(module, "gather_by_rows", row_by_row)
    np.testing.assert_array_equal(jax.jit(run)(), whole)
