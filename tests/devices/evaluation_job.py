"""What several processes measure together, as files: `python evaluation_job.py FOLDER [PROCESSES]`.

It measures a small network on 1,003 made images, streamed and resident, by a single crop and by ten crops, one network
and the average of two, and writes the predictions as process 0 sees them.
"""

import dataclasses
import sys
from pathlib import Path

import flax.linen as nn
import jax
import numpy as np
import tyro

from jaxcnn.config import CenterCrop, DataConfig, Normalization, SingleCrop, TenCrop
from jaxcnn.data.sources import Source, register_source, source_kinds
from jaxcnn.devices.processes import Processes, is_writer
from jaxcnn.evaluation.predictions import average_networks
from jaxcnn.trained import Trained

IMAGES, CLASSES = 1003, 10
UNREADABLE = (5, 400, 1002)
"""The unreadable images of a data set that has some: one of either process and one of the last, padded batch."""


def made(request):
    """Images of noise; some of a data set called ``damaged`` cannot be decoded."""

    def read(index):
        if request.rest == "damaged" and index in UNREADABLE:
            return b"\\xff\\xd8\\xff no JPEG", 0
        return np.random.RandomState(index).randint(0, 256, (12, 12, 3)).astype(np.uint8), index % CLASSES

    names = tuple(map(str, range(CLASSES)))
    return Source(request.name, request.split, names, IMAGES, read, lambda index: f"image {index}")


class Small(nn.Module):
    """One convolution, and a classifier of the mean of each feature: compiled in no time."""

    @nn.compact
    def __call__(self, images, *, train):
        """Returns logits (batch, CLASSES)."""
        x = nn.relu(nn.Conv(8, (5, 5), strides=(3, 3), name="conv")(images))
        return nn.Dense(CLASSES, name="dense")(x.mean((1, 2)))


def network(seed):
    """A network whose answers depend on the seed."""
    model = Small()
    variables = model.init(jax.random.key(seed), np.zeros((1, 10, 10, 3), np.float32), train=False)
    crop = CenterCrop(size=10, resize=12)
    data = DataConfig(train_crop=crop, evaluation_crop=crop, max_bad_share=0.1)
    return Trained(model, variables, CLASSES, tuple(map(str, range(CLASSES))), data, Normalization())


def jobs():
    """Each by its name: the data set and the views."""
    single, ten = SingleCrop(), TenCrop(size=10, short_sides=(12,))
    yield "streamed", {"name": "made", "residence": "stream"}, single
    yield "resident", {"name": "made", "residence": "device"}, single
    yield "damaged", {"name": "made:damaged", "residence": "stream"}, single
    yield "damaged_resident", {"name": "made:damaged", "residence": "device"}, single
    yield "ten_crop", {"name": "made", "residence": "stream"}, ten


def main(out):
    """Writes one file a job, into a folder that is made."""
    out.mkdir(exist_ok=True)
    if "made" not in source_kinds():
        register_source("made", open=made, splits=lambda rest, data_dir: ("test",))
    networks = [network(0), network(1)]
    for name, data, views in jobs():
        found = []
        for each in networks:
            split = each.open_split(dataclasses.replace(each.data, **data), views)
            found.append(each.predictions(split, batch_size=96))
        both = average_networks(found)
        result = both.result((1, 5))
        if is_writer():
            one, counts = found[0], np.array([result.images, *result.errors.values()])
            np.savez(
                out / f"{name}.npz", one=one.scores, both=both.scores, known=one.known, labels=one.labels, n=counts
            )


if __name__ == "__main__":
    folder, *processes = sys.argv[1:]
    with tyro.cli(Processes, args=processes).joined():
        main(Path(folder))
