"""From a split's batches of images to batches of descriptors, and to the sample that an encoding is fitted on."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np
from jax.experimental import multihost_utils

from jaxcnn.classical.methods import Sample
from jaxcnn.classical.sift import LENGTH, Grid
from jaxcnn.config.baselines import Baseline
from jaxcnn.data.pipeline import Split
from jaxcnn.data.random import random_state
from jaxcnn.data.stream import Batch, available_cores
from jaxcnn.data.threads import map_ahead
from jaxcnn.devices.parallel import DataParallel
from jaxcnn.evaluation.evaluator import Interrupted
from jaxcnn.features.arrays import read_arrays, write_arrays
from jaxcnn.work_folder import by_writer

_AHEAD_A_THREAD = 4
"""The number of images for each thread that are described ahead."""
Described = tuple[Batch, np.ndarray]
"""A batch, and the descriptors of its images, uint8 (images, points, 128)."""


def described(batches: Iterator[Batch], grid: Grid) -> Iterator[Described]:
    """Yields batches with the descriptors of their images, which threads compute ahead of the consumer.

    Images that ``mask`` leaves out are not described: their descriptors are zeros.

    Args:
        batches: the batches of a streamed split.
        grid: the key points.
    """

    def tasks() -> Iterator[tuple[Batch, np.ndarray, int]]:
        for batch in batches:
            descriptors = np.zeros((len(batch["image"]), len(grid), LENGTH), np.uint8)
            yield from ((batch, descriptors, row) for row in range(len(descriptors)))

    def fill(task: tuple[Batch, np.ndarray, int]) -> Described | None:
        """Describes one image; returns its batch if it is the last one of it."""
        batch, descriptors, row = task
        if "mask" not in batch or batch["mask"][row]:
            descriptors[row] = grid.describe(batch["image"][row])
        return (batch, descriptors) if row == len(descriptors) - 1 else None

    workers = available_cores()
    filled = map_ahead(fill, tasks(), workers=workers, depth=_AHEAD_A_THREAD * workers)
    with contextlib.closing(filled):
        yield from (found for found in filled if found is not None)


def draw_sample(
    split: Split, config: Baseline, grid: Grid, parallel: DataParallel, folder: Path, stop: Callable[[], bool]
) -> None:
    """Writes the descriptors that an encoding is fitted on to a folder, those of each batch of images to a file.

    The images are those that the first epoch of a training with this seed begins with. As many descriptors are drawn
    from each, none of a flat patch. A folder that holds some of the files already gets the others.

    Args:
        split: the training split, streamed.
        config: the options.
        grid: the key points.
        parallel: the devices, by which several processes share the images.
        folder: the folder, which is made if need be.
        stop: called before each batch.

    Raises:
        Interrupted: ``stop`` returned True.
        UserError: too many images cannot be read, or the folder cannot be written.
        MachineError: the disk is full, or fails.
    """
    batch_size, images = config.data.batch_size, min(config.sample_images, split.size)
    quota, last = -(-config.sample // images), -(-images // batch_size)
    first = by_writer(lambda: next(step for step in range(last + 1) if not _part(folder, step).exists()))
    batches = split.training_batches(config.seed, batch_size, first, last, parallel.rows(batch_size))
    for step, (batch, descriptors) in enumerate(described(batches, grid), first):
        if stop():
            raise Interrupted
        drawn = np.full((len(descriptors), quota), -1, np.int32)
        for row, (epoch, position) in enumerate(zip(batch["epoch"], batch["position"], strict=True)):
            if epoch == 0 and position < images:
                known = np.flatnonzero(descriptors[row].any(1))
                chosen = random_state(config.seed, 3, int(position)).permutation(len(known))[:quota]
                drawn[row, : len(chosen)] = known[chosen]
        values = np.take_along_axis(descriptors, np.maximum(drawn, 0)[:, :, None], axis=1)
        part = _of_all_processes({"points": drawn, "descriptors": values}, parallel)

        def write(step: int = step, part: dict[str, np.ndarray] = part) -> None:
            counted = part["points"] >= 0
            write_arrays(_part(folder, step), {name: value[counted] for name, value in part.items()})

        by_writer(write)


def read_sample(folder: Path, grid: Grid) -> Sample:
    """Returns what `draw_sample` wrote.

    Raises:
        UserError: a file is damaged.
    """
    parts = [read_arrays(path) for path in sorted(folder.glob("*.safetensors"))]
    points = np.concatenate([part["points"] for part in parts])
    return Sample(np.concatenate([part["descriptors"] for part in parts]), grid.positions[points])


def _part(folder: Path, step: int) -> Path:
    return folder / f"{step:06}.safetensors"


def _of_all_processes(arrays: dict[str, np.ndarray], parallel: DataParallel) -> dict[str, np.ndarray]:
    """Returns whole arrays, of which each process has the rows of its own devices."""
    if jax.process_count() == 1:
        return arrays
    return multihost_utils.process_allgather(parallel.put_batch(arrays), tiled=True)
