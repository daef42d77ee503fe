"""Extracts features of made images by a small network, as `jaxcnn features` does.

    features_job.py FOLDER [--signalled] [PROCESSES]

The images, some of which cannot be read, and the network are those of `tests.devices.evaluation_job`. With --signalled
the process sends itself SIGTERM at its sixth batch.
"""

import dataclasses
import os
import signal
import sys
from pathlib import Path

import tyro

from jaxcnn.data.sources import register_source, source_kinds
from jaxcnn.devices.feed import Feed
from jaxcnn.devices.processes import Processes
from jaxcnn.features.extraction import extract
from jaxcnn.training.interrupt import EXIT_STOPPED
from tests.devices.evaluation_job import made, network

LAYERS = "conv|dense:input|logits"
SPLITS = ("train", "test")


def prepared(name="patterns:damaged"):
    """The network, with a data set of 1,003 images in each of two splits."""
    if "patterns" not in source_kinds():
        register_source("patterns", open=made, splits=lambda rest, data_dir: SPLITS)
    found = network(0)
    return dataclasses.replace(found, data=dataclasses.replace(found.data, name=name))


def run(folder, splits=("test",), **options):
    """Returns whether everything was extracted."""
    options = {"name": "small", "layer": LAYERS, "pooling": "none", "images_at_once": 16, **options}
    return extract(prepared(), folder, splits, **options)


def signal_at_the_sixth_batch():
    evaluation = Feed.evaluation

    def signalled(self, first=0):
        for number, batch in enumerate(evaluation(self, first)):
            if number == 5:
                os.kill(os.getpid(), signal.SIGTERM)
            yield batch

    Feed.evaluation = signalled


if __name__ == "__main__":
    folder, *processes = sys.argv[1:]
    if processes[:1] == ["--signalled"]:
        signal_at_the_sixth_batch()
        del processes[0]
    with tyro.cli(Processes, args=processes).joined():
        code = 0 if run(Path(folder)) else EXIT_STOPPED
    sys.exit(code)
