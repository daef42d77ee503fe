"""The encodings of a split's images, on their way to the disk.

They lie where features of networks lie, in a file of `jaxcnn.features.store`, as those of a layer named ``encoding``.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn import strict_json
from jaxcnn.classical.describing import described
from jaxcnn.classical.methods import Arrays, Encoder
from jaxcnn.classical.sift import LENGTH, Grid
from jaxcnn.data.pipeline import Split
from jaxcnn.devices.parallel import DataParallel
from jaxcnn.evaluation.evaluator import Interrupted
from jaxcnn.features.linear import slices
from jaxcnn.features.store import KNOWN, LABEL, Features, Writer, file_of
from jaxcnn.features.streaming import over_devices, write_rows
from jaxcnn.types import PyTree
from jaxcnn.work_folder import by_writer

LAYER = "encoding"
"""The name of the encodings in the file."""


def encode_split(
    split: Split,
    use: str,
    encoder: Encoder,
    fitted: Arrays,
    grid: Grid,
    parallel: DataParallel,
    batch_size: int,
    folder: Path,
    facts: Mapping[str, str],
    stop: Callable[[], bool],
) -> None:
    """Writes the encodings of all images of a split to a folder, or goes on with that.

    Each image is encoded by itself, so that its encoding is the same bits on any number of devices and processes. Where
    there are several processes, they share the images, and process 0 alone writes.

    Args:
        split: the split, streamed.
        use: what the split is for; its file is named so.
        encoder: the function that encodes an image's descriptors.
        fitted: what it takes beside them.
        grid: the key points.
        parallel: the devices.
        batch_size: the number of images that are encoded together, over all devices.
        folder: the folder.
        facts: what else the file says of itself, as text.
        stop: called before each batch.

    Raises:
        Interrupted: ``stop`` returned True; what was written is kept.
        UserError: too many images cannot be read, or the file cannot be written.
        MachineError: the disk is full, or fails.
    """
    if by_writer(lambda: file_of(folder, use).exists()):
        return
    points = jax.ShapeDtypeStruct((len(grid), LENGTH), np.uint8)
    shape = jax.eval_shape(encoder, fitted, points).shape
    facts = {"split": use, "class_names": strict_json.dumps(split.class_names), **facts}
    encode = over_devices(_one_by_one(encoder), parallel, check_vma=False)
    placed = parallel.put_everywhere({name: np.asarray(value) for name, value in fitted.items()})
    with contextlib.closing(Writer(folder, use, split.size, {LAYER: shape}, facts)) as writer:
        done = by_writer(lambda: writer.open(map(split.image_name, range(split.size))))
        batches = split.evaluation_batches(batch_size, parallel.rows(batch_size), done)

        def dispatched() -> Iterator[dict[str, jax.Array]]:
            for batch, descriptors in described(batches, grid):
                if stop():
                    raise Interrupted
                rows = {LAYER: descriptors, LABEL: batch["label"], KNOWN: batch["mask"]}
                yield encode(placed, parallel.put_batch(rows))

        write_rows(writer, dispatched(), done, name=split.name, size=split.size)
        by_writer(writer.finish)


def _one_by_one(encoder: Encoder) -> Callable[[Mapping[str, jax.Array], PyTree], PyTree]:
    """Returns a function that encodes the descriptors of a batch image by image.

    The arrays of one image are large enough to keep a device busy.
    """

    def encode(fitted: Mapping[str, jax.Array], rows: PyTree) -> PyTree:
        images = rows[LAYER]
        # XLA takes a loop of one round apart, and what is left may round otherwise; so one image is computed twice.
        rounds = jnp.concatenate([images, images]) if len(images) == 1 else images
        return rows | {LAYER: jax.lax.map(lambda each: encoder(fitted, each), rounds)[: len(images)]}

    return encode


def encoded_as_zeros(features: Features) -> np.ndarray:
    """Returns the indices of the images that could be read and whose encodings are zeros, int64."""
    found = [
        rows.start + np.flatnonzero(features.known[rows] & ~features.values(LAYER, rows).any(1))
        for rows in slices(len(features))
    ]
    return np.concatenate(found)
