"""Trains and measures what came before convolutional networks, on any data set; needs the extra classical.

    jaxcnn baseline sift-fisher --data.name tfds:mnist [--workdir FOLDER] [--OPTION VALUE ...]
    jaxcnn baseline sparse-coding --data.name folder:PATH [--workdir FOLDER] [--OPTION VALUE ...]
    jaxcnn baseline sift-fisher ... --distributed auto         several processes: see docs/distributed.md
    jaxcnn baseline table RUN_FOLDER...                        the lecture's table, of baselines and trainings

Images are cut as for an evaluation: --data.evaluation-crop.kind center_crop, for example, chooses the crop. The same
command on the same folder goes on where it was stopped. The exit code is 0 where the baseline was measured; 2 where the
command asks for something impossible, which one sentence names; 74 where the disk is full, or fails; 75 where SIGTERM
or SIGINT has stopped it with everything saved. After 74 and 75 the same command goes on.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Generic, TypeVar

import tyro

from jaxcnn.classical import baselines
from jaxcnn.config.baselines import Baseline, SiftFisher, SparseCoding
from jaxcnn.config.command_line import with_chosen_kinds
from jaxcnn.devices.processes import Processes, is_writer
from jaxcnn.evaluation.details import in_words
from jaxcnn.tables import baselines as lecture
from jaxcnn.training.interrupt import EXIT_STOPPED

Config = TypeVar("Config", bound=Baseline)
PROG = "jaxcnn baseline"
_PLAIN = (tyro.conf.AvoidSubcommands,)


@dataclasses.dataclass(frozen=True)
class Arguments(Generic[Config]):
    """Train and measure a baseline, or go on with one."""

    config: Annotated[Config, tyro.conf.arg(name="")]
    workdir: Path | None = None
    """The folder of the work; by default runs/KIND."""
    processes: Annotated[Processes, tyro.conf.arg(name="")] = dataclasses.field(default_factory=Processes)


def table(runs: tyro.conf.Positional[tuple[Path, ...]]) -> None:
    """Prints the results of baselines and trainings on one data set beside those published on ILSVRC-2010.

    Args:
        runs: the folders of the baselines and the trainings.
    """
    print(lecture.table([lecture.measured(run) for run in runs]), end="")


def sift_fisher() -> None:
    """Trains and measures dense SIFT with improved Fisher vectors: see --help after it for its options."""


def sparse_coding() -> None:
    """Trains and measures sparse codes of dense SIFT: see --help after it for its options."""


def main(arguments: list[str]) -> int:
    """Returns the exit code."""
    kind, *rest = arguments or [""]
    chosen: Arguments
    match kind:
        case "sift-fisher":
            default = Arguments(with_chosen_kinds(SiftFisher(), rest))
            chosen = tyro.cli(Arguments[SiftFisher], prog=f"{PROG} {kind}", default=default, args=rest, config=_PLAIN)
        case "sparse-coding":
            default = Arguments(with_chosen_kinds(SparseCoding(), rest))
            chosen = tyro.cli(Arguments[SparseCoding], prog=f"{PROG} {kind}", default=default, args=rest, config=_PLAIN)
        case _:
            commands: dict[str, Callable[..., None]] = {
                "sift-fisher": sift_fisher,
                "sparse-coding": sparse_coding,
                "table": table,
            }
            tyro.extras.subcommand_cli_from_dict(commands, prog=PROG, args=arguments)
            return 0
    workdir = chosen.workdir or Path("runs") / kind
    with chosen.processes.joined():
        result = baselines.run(chosen.config, workdir)
        if is_writer():
            stopped = f"stopped as asked, everything is saved; go on with the same command and --workdir {workdir}"
            print(stopped if result is None else in_words(result.errors, result.images))
    return EXIT_STOPPED if result is None else 0
