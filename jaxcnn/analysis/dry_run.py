"""What a run would take, before anything is spent: its compiled step's memory, its steps, a guess of its time."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxcnn.assembly import Assembly
from jaxcnn.training.step import zero_totals


def abstract_batch(assembly: Assembly) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns shapes, dtypes and shardings of what `Split.training_batches` yields, once it is on the devices."""
    size, train = assembly.config.data.batch_size, assembly.data.train
    numbers = ("index",) if train.resident else ("label",)
    layout = {name: ((size,), jnp.int32) for name in (*numbers, "epoch", "place")}
    if not train.resident:
        layout["image"] = ((size, *train.image_shape), jnp.uint8)
    split = assembly.parallel.split
    return {name: jax.ShapeDtypeStruct(shape, dtype, sharding=split) for name, (shape, dtype) in layout.items()}


def abstract_arrays(assembly: Assembly) -> dict[str, jax.ShapeDtypeStruct] | None:
    """Returns the shapes of what `split_arrays` keeps on every device of a resident training split, else None."""
    train, replicated = assembly.data.train, assembly.parallel.replicated
    if not train.resident:
        return None
    return {
        name: jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=replicated)
        for name, array in (("image", train.images), ("label", train.labels))
    }


def abstract_arguments(assembly: Assembly) -> tuple[Any, ...]:
    """Returns what ``assembly.train_step`` takes, as shapes: state, totals, batch and arrays."""
    replicated = assembly.parallel.replicated
    totals = {
        name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=replicated)
        for name, leaf in jax.eval_shape(zero_totals).items()
    }
    return assembly.abstract_state, totals, abstract_batch(assembly), abstract_arrays(assembly)
