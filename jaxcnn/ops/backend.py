"""The backend that a program is made for, which is not always the one of this process."""

import contextlib
import contextvars
from collections.abc import Generator

import jax

_backend: contextvars.ContextVar[str | None] = contextvars.ContextVar("backend", default=None)


def rules_backend() -> str:
    """Returns the backend whose rules ``"auto"`` follows: that of `rules_of`, or else the default of this process."""
    return _backend.get() or jax.default_backend()


def several_devices() -> bool:
    """Returns whether a program may run on more than one device, over which loops and slices would gather arrays.

    Inside ``jax.shard_map`` it does not: each device has a part of its own, which it computes as if it were alone.
    """
    mesh = jax.sharding.get_abstract_mesh()
    alone = bool(mesh.axis_names) and set(mesh.manual_axes) == set(mesh.axis_names)
    return jax.device_count() > 1 and not alone


def surroundings() -> tuple[str, bool]:
    """Returns what operations ask for besides their arguments, and what JAX does not tell traces apart by."""
    return rules_backend(), several_devices()


@contextlib.contextmanager
def rules_of(backend: str) -> Generator[None]:
    """Makes ``"auto"`` follow the rules of another backend in everything that is traced inside.

    Without it, a program that is compiled ahead of time for devices that this process does not have would be lowered as
    is best for the devices that it does have.

    Args:
        backend: ``cpu``, ``gpu`` or ``tpu``.
    """
    token = _backend.set(backend)
    try:
        yield
    finally:
        _backend.reset(token)
