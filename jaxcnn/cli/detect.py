"""Trains, uses and measures R-CNN: objects in images, found by classifying regions; needs the extra detection.

    jaxcnn detect train RUN_FOLDER --data.name coco:FOLDER [--workdir DETECTOR] [--OPTION VALUE ...]
    jaxcnn detect train MODEL --weights SOURCE --data.name voc:FOLDER [--workdir DETECTOR] [--OPTION VALUE ...]
    jaxcnn detect run DETECTOR IMAGE... --out FOLDER         answers.json, in COCO's form, and pictures with boxes
    jaxcnn detect run DETECTOR --split SPLIT --out FOLDER    the same for a split of its data set
    jaxcnn detect evaluate DETECTOR [--split SPLIT]          average precision by VOC's protocols and by COCO's
    jaxcnn detect recall DETECTOR [--split SPLIT]            the share of objects that the proposals hold

With --method sliding the tuned network is slid over the images instead, and no proposals are needed. The exit code is
0; 2 where the command asks for something impossible, which one sentence names; 74 where the disk is full, or fails; 75
where SIGTERM or SIGINT has stopped it with everything saved, after which the same command goes on.
"""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import tyro

from jaxcnn.cli.shared import OneNetwork, console, source_of
from jaxcnn.config.command_line import with_chosen_kinds
from jaxcnn.config.detection import NetworkSource, RCNNConfig, ScenesOf, SlidingConfig
from jaxcnn.detection import rcnn
from jaxcnn.detection.annotations import AnnotatedSplit
from jaxcnn.detection.files import split_of_files
from jaxcnn.devices.threads import steady_threads
from jaxcnn.errors import writing
from jaxcnn.features.store import file_name
from jaxcnn.pictures.detections import drawn, plot_precision_recall, plot_recall
from jaxcnn.training.interrupt import EXIT_STOPPED

PROG = "jaxcnn detect"
STOPPED = "stopped as asked, everything so far is saved; the same command goes on"


@dataclasses.dataclass(frozen=True)
class Source(OneNetwork):
    """Train a detector, or go on with one. `jaxcnn detect train NETWORK --help` shows what else can be set."""


@dataclasses.dataclass(frozen=True)
class Options:
    """The images, and what of the detector can be chosen."""

    data: ScenesOf
    rcnn: Annotated[RCNNConfig, tyro.conf.arg(name="")]
    workdir: Path = Path("runs/detector")
    """The folder of the detector, where it goes on."""


def train(arguments: list[str]) -> int:
    """Trains a detector."""
    source, rest = source_of(Source, f"{PROG} train", arguments)
    given = NetworkSource(
        source.network, source.weights, source.checkpoint, source.weights_of, ignore=source.foreign.ignore
    )
    network = rcnn.load_source(given)
    default = Options(ScenesOf(), with_chosen_kinds(RCNNConfig(), rest))
    prog = f"{PROG} train {source.network}"
    chosen = tyro.cli(Options, prog=prog, default=default, args=rest, config=(tyro.conf.AvoidSubcommands,))
    done = rcnn.train(network, rcnn.configure(network, given, chosen.data, chosen.rcnn), chosen.workdir)
    print(f"{chosen.workdir} holds the detector" if done else STOPPED)
    return 0 if done else EXIT_STOPPED


@dataclasses.dataclass(frozen=True)
class Answering:
    """How a detector answers."""

    detector: tyro.conf.Positional[Path]
    """The folder of the detector."""
    split: str | None = None
    """A split of its data set; by default the one to measure on."""
    method: Literal["regions", "sliding"] = "regions"
    """Classify proposals of regions, as R-CNN does; or slide the tuned network over the image."""
    sliding: SlidingConfig = dataclasses.field(default_factory=SlidingConfig)

    @property
    def slid(self) -> SlidingConfig | None:
        """The options of the sliding window, where it is asked for."""
        return self.sliding if self.method == "sliding" else None


@dataclasses.dataclass(frozen=True)
class Running(Answering):
    """Find the objects in images."""

    images: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Image files; by default the images of the split."""
    out: Path = Path("detections")
    """The folder for answers.json, in the form of COCO's results, and for a picture of each image."""
    top: int = 5
    """The most answers that are drawn in a picture, the best ones."""
    min_score: float = -math.inf
    """The lowest score that is drawn. Machines that few objects were there for score most objects below 0, their
    margin."""
    pictures: int = 20
    """The most pictures that are drawn."""


def run(arguments: list[str]) -> int:
    """Finds the objects in images."""
    chosen = tyro.cli(Running, prog=f"{PROG} run", args=arguments)
    if chosen.images:
        split, name = split_of_files(chosen.images), "given"
    else:
        config = rcnn.stored_config(chosen.detector)
        split = rcnn.evaluation_split(config, chosen.split)
        name = split.split
    with steady_threads():
        found = rcnn.answer(chosen.detector, split, name, sliding=chosen.slid, results=chosen.out / "answers.json")
    if found is None:
        print(STOPPED)
        return EXIT_STOPPED
    count = _draw(split, found, chosen)
    print(f"{chosen.out}/answers.json holds the answers for {len(split)} images; {count} pictures show them")
    return 0


def _draw(split: AnnotatedSplit, found: rcnn.Answers, chosen: Running) -> int:
    """Writes pictures of the first images; returns how many there are."""
    shown = list(zip(split.images, found.detections, strict=True))[: chosen.pictures]
    for image, answers in shown:
        sure = answers.above(chosen.min_score).best(chosen.top)
        picture = drawn(image.read(), sure, found.class_names, image.objects if split.class_names else None)
        name = Path(image.name).with_suffix(".png").name if not split.class_names else file_name(f"{image.name}.png")
        with writing(chosen.out, "choose another --out"):
            picture.save(chosen.out / name)
    return len(shown)


@dataclasses.dataclass(frozen=True)
class Measuring(Answering):
    """Measure a detector."""

    plot: Path | None = None
    """The picture (.png, .svg or .pdf) of precision against recall to draw; it needs the extra plot."""
    out: Path | None = None
    """The JSON file to write the figures to; by default beside the answers, in the detector's folder."""


def evaluate(arguments: list[str]) -> int:
    """Measures a detector."""
    chosen = tyro.cli(Measuring, prog=f"{PROG} evaluate", args=arguments)
    with steady_threads():
        result = rcnn.evaluate(chosen.detector, chosen.split, sliding=chosen.slid, out=chosen.out)
    if result is None:
        print(STOPPED)
        return EXIT_STOPPED
    console().print(result)
    print(result)
    if chosen.plot is not None:
        plot_precision_recall(result.curves, result.class_names, chosen.plot)
        print(f"{chosen.plot} shows precision against recall")
    return 0


@dataclasses.dataclass(frozen=True)
class Recalling:
    """Measure the proposals of a detector."""

    detector: tyro.conf.Positional[Path]
    """The folder of the detector."""
    split: str | None = None
    """A split of its data set; by default the one to measure on."""
    plot: Path | None = None
    """The picture (.png, .svg or .pdf) of recall against the number of proposals to draw; it needs the extra plot."""


def recall(arguments: list[str]) -> int:
    """Measures the proposals of a detector."""
    chosen = tyro.cli(Recalling, prog=f"{PROG} recall", args=arguments)
    found = rcnn.proposal_recall(chosen.detector, chosen.split)
    if found is None:
        print(STOPPED)
        return EXIT_STOPPED
    console().print(found.table())
    if chosen.plot is not None:
        plot_recall({"selective search": (found.proposals, found.recall)}, chosen.plot)
        print(f"{chosen.plot} shows recall against the number of proposals")
    return 0


def main(arguments: list[str]) -> int:
    """Returns the exit code."""
    commands: dict[str, Callable[[list[str]], int]] = {
        "train": train,
        "run": run,
        "evaluate": evaluate,
        "recall": recall,
    }
    name, *rest = arguments or [""]
    if name in commands:
        return commands[name](rest)
    # Each has arguments of its own: these only list them.
    listed = {name: _described(command) for name, command in commands.items()}
    tyro.extras.subcommand_cli_from_dict(listed, prog=PROG, args=arguments)
    return 0


def _described(command: Callable[[list[str]], int]) -> Callable[[], None]:
    def nothing() -> None:
        pass

    nothing.__doc__ = f"{command.__doc__} See --help after it for its options."
    return nothing
