"""Compares ways to a classifier of few images: from scratch, fine-tuned, and features of a pretrained network.

    jaxcnn transfer-study MODEL --weights SOURCE --data.name folder:PATH [--workdir FOLDER] [--plot FILE]
    jaxcnn transfer-study MODEL --weights SOURCE --data.name folder:PATH --methods svm softmax --images-per-class 1 5 10

The images of the training and the evaluation split are drawn from together: each of --splits splits has images to train
on and others to measure on. Means, deviations and margins go to FOLDER/study.json. The exit code is 0; 2 where the
command asks for something impossible; 75 where SIGTERM or SIGINT has stopped it with everything saved. The same command
goes on, and one that asks for more methods, sizes or splits adds them.
"""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from jaxcnn.config.study import StudyConfig
from jaxcnn.devices.threads import steady_threads
from jaxcnn.pictures.study import plot_study
from jaxcnn.training.interrupt import EXIT_STOPPED
from jaxcnn.transfer.study import study


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Compare ways to a classifier of few images."""

    config: Annotated[StudyConfig, tyro.conf.arg(name="")]
    workdir: Path | None = None
    """The folder of the study, where it goes on; by default studies/NETWORK."""
    plot: Path | None = None
    """The picture (.png, .svg or .pdf) to draw, of accuracy against training images; it needs the extra plot."""


def main(arguments: list[str]) -> int:
    """Returns the exit code."""
    # The network, which alone has no default, comes first.
    config = (tyro.conf.PositionalRequiredArgs,)
    chosen = tyro.cli(Arguments, prog="jaxcnn transfer-study", args=arguments, config=config)
    workdir = chosen.workdir or Path("studies") / chosen.config.network
    with steady_threads():
        summary = study(chosen.config, workdir)
    if summary is None:
        print(f"stopped as asked, everything so far is saved in {workdir}; the same command goes on")
        return EXIT_STOPPED
    print(summary)
    if chosen.plot is not None:
        plot_study(summary, chosen.plot)
        print(f"{chosen.plot} shows accuracy against training images")
    return 0
