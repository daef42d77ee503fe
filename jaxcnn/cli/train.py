"""Trains a recipe, or goes on with a run.

    jaxcnn train [RECIPE_OR_RUN_FOLDER] [--workdir FOLDER] [--OPTION VALUE ...]
    jaxcnn train RECIPE --init-from WEIGHTS_OR_RUN_FOLDER --profile 10
    jaxcnn train [RECIPE_OR_RUN_FOLDER] --dry-run [--topology h100:8] [--OPTION VALUE ...]
    jaxcnn train [RECIPE_OR_RUN_FOLDER] --no-report                         without report.html at the end
    jaxcnn train --topology list                                            what can be compiled for
    jaxcnn train RECIPE --compiled FILE                                     the step that `jaxcnn compile` has written
    jaxcnn train RECIPE --distributed auto                                  several processes: see docs/distributed.md
    jaxcnn train RECIPE --coordinator-address HOST:PORT --num-processes N --process-id I

With `--optimizer.kind adamw` another optimizer takes the recipe's place, with its own options, but for the schedule;
`--optimizer.schedule.kind`, `--loss.kind` and `--data.train-crop.kind` choose likewise.

A recipe is a name that `jaxcnn recipes` lists, or the path of a file; by default it is lenet_digits. With --dry-run the
command prints what the training would take: memory, steps, time, and which error was published; ILSVRC-2012 need not be
prepared for that. The exit code is 0 where the run was trained and evaluated; 2 where the recipe or the command asks
for something impossible, which one sentence names; 74 where the disk is full, or fails; 75 where SIGTERM or SIGINT has
stopped it with everything saved. After 74 and 75 the same command goes on.
"""

import dataclasses
import logging
import sys
from pathlib import Path
from typing import Annotated

import jax
import tyro

from jaxcnn import runs
from jaxcnn.cli.shared import named_recipe, with_options
from jaxcnn.config import TrainConfig
from jaxcnn.config.command_line import with_chosen_kinds
from jaxcnn.devices.processes import Processes, is_writer
from jaxcnn.devices.topologies import over_topology, topology_lines
from jaxcnn.errors import MachineError, UserError
from jaxcnn.laboratory.dry_run import dry_run
from jaxcnn.recipes import Recipe
from jaxcnn.text import escaped
from jaxcnn.training.interrupt import EXIT_STOPPED


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Train a recipe, or go on with a run."""

    config: Annotated[TrainConfig, tyro.conf.arg(name="")]
    workdir: Path | None = None
    """The run folder; by default runs/NAME, or the one named as first argument."""
    override: bool = False
    """Go on with a run although epochs, or an option of the optimizer, the loss, the moving average or the
    augmentations, is another now. Schedules go on as if the new values had held from the beginning. The run folder
    keeps a record of it in overrides.json."""
    profile: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Trace N steps, after the first few, into the run folder's profile/, for XProf and Perfetto."""
    compilation_cache: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")] = None
    """Keep compiled programs in this folder for the next start; by default in the one that JAX_COMPILATION_CACHE_DIR
    names, or else in compiled/ of JAXCNN_CACHE (~/.cache/jaxcnn)."""
    compiled: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Train with the compiled step that `jaxcnn compile` has written, instead of compiling it. It is a program that is
    run, so take it from nobody whom you do not trust."""
    report: bool = True
    """Write report.html into the run folder when the run has ended: what `jaxcnn report` writes. Where several
    processes train together it holds what the folder says, and no answers of the network."""
    dry_run: bool = False
    """Compile the training step, time it, and print what the run would take; write nothing."""
    topology: str | None = None
    """With --dry-run: compile for these GPUs or TPUs, which need not be there, as in h100:8, h100:4x8 or v5e:4x4, and
    time nothing; `list` shows them."""
    processes: Annotated[Processes, tyro.conf.arg(name="")] = dataclasses.field(default_factory=Processes)


def main(arguments: list[str]) -> int:
    """Returns the exit code."""
    named = named_recipe("jaxcnn train", "[RECIPE_OR_RUN_FOLDER]", arguments)
    return train(named.recipe, named.options, named.prog)


def train(recipe: Recipe, arguments: list[str], prog: str) -> int:
    """Trains a recipe, with the options that override it; returns the exit code."""
    chosen = with_options(Arguments(with_chosen_kinds(recipe.config, arguments), recipe.run), prog, arguments)
    if chosen.topology == "list":
        print(*topology_lines(), sep="\n")
        return 0
    if chosen.topology and not chosen.dry_run:
        raise UserError("--topology names devices that can be compiled for but not trained on: add --dry-run")
    if chosen.dry_run:
        topology = over_topology(chosen.topology) if chosen.topology else None
        print(dry_run(chosen.config, topology).report())
        return 0
    workdir = chosen.workdir or Path("runs") / chosen.config.name
    with chosen.processes.joined():
        result = runs.train(
            chosen.config,
            workdir,
            recipe=recipe,
            override=chosen.override,
            profile_steps=chosen.profile,
            compilation_cache=chosen.compilation_cache,
            compiled=chosen.compiled,
        )
        if is_writer():
            stopped = f"stopped as asked, everything is saved; go on with: jaxcnn train {workdir}"
            print(stopped if result is None else result)
            if result is not None and chosen.report:
                write_report_of(workdir, measure=jax.process_count() == 1)
    return EXIT_STOPPED if result is None else 0


def write_report_of(workdir: Path, *, measure: bool) -> None:
    """Writes the report of a run that has ended, which nothing that goes wrong here may turn into a failure."""
    from jaxcnn.pictures.report.page import write_report  # training itself starts without it

    log = logging.getLogger("jaxcnn")
    level = log.level
    log.setLevel(logging.WARNING)  # the training has said already what there is to say of the images
    try:
        write_report([workdir], measure=measure)
    except (Exception, KeyboardInterrupt) as error:
        said = error if isinstance(error, UserError | MachineError) else f"{type(error).__name__}: {error}"
        sentence = " ".join(f"the report of the run, which is whole, is not written: {said}".split())
        print(f"{escaped(sentence)}; `jaxcnn report {escaped(str(workdir))}` writes it", file=sys.stderr)
    finally:
        log.setLevel(level)
