"""From batches on the devices to rows on the disk: what all that streams features has in common."""

import time
from collections.abc import Callable, Iterator, Mapping

import jax
import numpy as np
from jax.sharding import PartitionSpec

from jaxcnn.data.progress import Progress
from jaxcnn.devices.memory import settled
from jaxcnn.devices.parallel import AXIS, DataParallel
from jaxcnn.devices.processes import is_writer
from jaxcnn.evaluation.evaluator import BATCHES_IN_FLIGHT
from jaxcnn.features.store import KNOWN, LABEL, Writer
from jaxcnn.lookahead import ahead
from jaxcnn.types import PyTree

COMMIT_SECONDS = 1.0
"""The time after which images are counted as done, for which the disk must be waited for."""
PRESENT = "present"
"""The name of a mask of rows: those that it leaves out are padding, which is not written."""
Rows = dict[str, jax.Array]
"""An array for each layer and for ``label`` and ``known``, with a row for each image."""


def over_devices(
    own_images: Callable[[PyTree, PyTree], Rows], parallel: DataParallel, *, check_vma: bool = True
) -> Callable[[PyTree, PyTree], Rows]:
    """Returns a jitted function from what all images share and a batch to rows that every process can read.

    Each device computes its own images by the program that one device alone would run.

    Args:
        own_images: a pure function from the same to the rows of a device's own images.
        parallel: the devices.
        check_vma: as for `jax.shard_map`.
    """
    specs = (PartitionSpec(), PartitionSpec(AXIS))
    compute = jax.jit(
        jax.shard_map(own_images, mesh=parallel.mesh, in_specs=specs, out_specs=specs[1], check_vma=check_vma)
    )
    if jax.process_count() == 1:
        return compute
    replicated = jax.jit(_same, out_shardings=parallel.replicated)
    return lambda shared, batch: replicated(compute(shared, batch))


def _same(tree: PyTree) -> PyTree:
    return tree


def write_rows(
    writer: Writer,
    batches: Iterator[Mapping[str, jax.Array | np.ndarray]],
    done: int,
    *,
    name: str,
    size: int,
    counted: str = "images",
) -> None:
    """Writes the rows of batches as they are computed; process 0 writes, and all wait.

    Whatever ends it, what was written is counted: SIGTERM, an error in an image, and a full disk that has room again.

    Args:
        writer: the file, which is open.
        batches: the rows of all batches from this row on; the last one may be padded at its end, and each may be padded
            anywhere with what its mask `PRESENT` leaves out.
        done: the number of rows that are done.
        name: the name of the split, for the log.
        size: the number of its rows.
        counted: what a row is of, for the log.

    Raises:
        UserError: the file cannot be written.
        MachineError: the disk is full, or fails.
    """
    progress, committed = Progress(name, size - done, counted), time.monotonic()
    try:
        for rows in ahead(map(settled, batches), BATCHES_IN_FLIGHT):
            jax.block_until_ready(rows)
            if is_writer():
                host = {name: np.asarray(value) for name, value in rows.items()}
                present = host.pop(PRESENT, None)
                if present is not None:
                    host = {name: value[present] for name, value in host.items()}
                writer.write(done, _without_unknown(host))
                count = len(host[KNOWN])
                progress.advance(min(count, size - done))
                done += count
                if time.monotonic() - committed >= COMMIT_SECONDS:
                    writer.commit(done)
                    committed = time.monotonic()
    finally:
        if is_writer():
            writer.commit(done)


def _without_unknown(rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns rows in which an image that cannot be read has the label -1 and features of 0."""
    known = rows[KNOWN]
    if known.all():
        return rows
    told = {name: np.where(known.reshape(-1, *[1] * (value.ndim - 1)), value, 0) for name, value in rows.items()}
    return told | {LABEL: np.where(known, rows[LABEL], -1), KNOWN: known}
