"""Compiles a recipe's training step, for this machine or another, into a file that `jaxcnn train --compiled` runs.

    jaxcnn compile RECIPE_OR_RUN_FOLDER --out step.bin [--OPTION VALUE ...]
    jaxcnn compile RECIPE_OR_RUN_FOLDER --out step.bin --topology v5e:2x2 [--OPTION VALUE ...]
    jaxcnn compile RECIPE_OR_RUN_FOLDER --out one.bin --tuned h100 --data.batch-size 32      # on one H100
    jaxcnn compile RECIPE_OR_RUN_FOLDER --out step.bin --tuned h100 --topology h100:8 --data.batch-size 256

With --topology it compiles for devices that need not be there. ILSVRC-2012 need not be prepared. For GPUs that are not
there XLA needs what it has found out by timing on one of them, with as many images: --tuned names the folder of that,
which is written without --topology, and read with it. On the machine that has the devices, `jaxcnn train RECIPE
--compiled step.bin` with the same options then starts without compiling the step; what evaluates is compiled there. A
file of another config, code, version or topology is refused.
"""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from jaxcnn.cli.shared import named_recipe, with_options
from jaxcnn.config import TrainConfig
from jaxcnn.config.command_line import with_chosen_kinds
from jaxcnn.devices.topologies import over_topology
from jaxcnn.laboratory.shipping import compile_to_file


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Compile a recipe's training step into a file."""

    config: Annotated[TrainConfig, tyro.conf.arg(name="")]
    out: Annotated[Path, tyro.conf.arg(metavar="FILE")]
    """The file to write."""
    topology: str | None = None
    """Compile for these devices, such as v5e:2x2, which need not be there; by default for those of this machine."""
    tuned: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")] = None
    """The folder of what XLA finds out by timing kernels on a GPU; it is read with --topology, and written without."""


def main(arguments: list[str]) -> int:
    """Returns the exit code."""
    _, recipe, prog, options = named_recipe("jaxcnn compile", "[RECIPE_OR_RUN_FOLDER]", arguments)
    chosen = with_options(Arguments(with_chosen_kinds(recipe.config, options), tyro.MISSING), prog, options)
    topology = over_topology(chosen.topology, chosen.tuned) if chosen.topology else None
    memory = compile_to_file(dataclasses.replace(recipe, config=chosen.config), chosen.out, topology, chosen.tuned)
    print(
        f"{chosen.out}: {chosen.out.stat().st_size / 1e6:,.1f} MB; the step takes {memory.total / 1e6:,.1f} MB on each "
        f"device; run it with `jaxcnn train --compiled`, with the options that it was compiled with"
    )
    return 0
