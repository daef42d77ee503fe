"""Proposals of made pictures, and features of these and of many other boxes, as a command would compute them.

    regions_job.py FOLDER

The exit code is 0, or 75 where SIGTERM stopped it.
"""

import sys
from pathlib import Path

import numpy as np

from jaxcnn.config.proposals import ProposalsConfig
from jaxcnn.detection.proposals import proposals_of
from jaxcnn.detection.regions import extract_regions
from jaxcnn.devices.threads import steady_threads
from jaxcnn.evaluation.evaluator import Interrupted
from jaxcnn.features import streaming
from jaxcnn.training.interrupt import EXIT_STOPPED, StopRequest
from tests.detection.made import picture, split_of
from tests.devices.evaluation_job import network


def main(folder):
    """Returns the exit code."""
    split, rng = split_of([picture(number, (120, 160)) for number in range(6)]), np.random.RandomState(0)
    streaming.COMMIT_SECONDS = 0.0
    with StopRequest() as stop, steady_threads():
        try:
            found = proposals_of(split, ProposalsConfig(min_size=4), folder / "proposals", stop)
            boxes = [
                np.concatenate([each, rng.randint(0, 99, (200, 2))[:, [0, 1, 0, 1]] + (0, 0, 9, 7)]) for each in found
            ]
            options = {"layer": "conv", "pooling": "none", "context": 2, "regions_at_once": 4}
            extract_regions(network(0), split, boxes, folder / "regions", "train", **options, stop=stop)
        except Interrupted:
            return EXIT_STOPPED
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
