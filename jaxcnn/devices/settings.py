"""The settings of JAX that a run does not take over from the process that it runs in."""

import contextlib
from collections.abc import Generator

import jax


@contextlib.contextmanager
def own_settings() -> Generator[None]:
    """Computes, in a ``with`` block or a decorated function, with the types and the random numbers that we rely on.

    What a run computes is a function of its config, seed and step. JAX has settings, global and in the environment,
    that would change it: ``JAX_ENABLE_X64`` makes float64 of what has no type of its own, and other random numbers;
    ``JAX_NUMPY_DTYPE_PROMOTION=strict`` refuses the sums that Optax's schedules are made of;
    ``JAX_DEFAULT_PRNG_IMPL`` and ``JAX_THREEFRY_PARTITIONABLE`` draw other random numbers, which with some generators
    depend on how a batch is split. A program may use these for its own work beside ours. Settings that choose how exact
    or how strict a computation is, such as ``JAX_DEFAULT_MATMUL_PRECISION``, stay as they are.
    """
    with (
        jax.enable_x64(False),
        jax.numpy_dtype_promotion("standard"),
        jax.default_prng_impl("threefry2x32"),
        jax.threefry_partitionable(True),
    ):
        yield
