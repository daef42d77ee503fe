"""A compiled step for another machine, or for this one: compiled here, and written into a file."""

import dataclasses
from pathlib import Path

import jax

from jaxcnn.assembly import assemble
from jaxcnn.compiled_step import write_step
from jaxcnn.devices.autotuning import learning, learnt, open_choices
from jaxcnn.devices.compilation import nothing_kept
from jaxcnn.devices.machines import machine_of
from jaxcnn.devices.parallel import DataParallel
from jaxcnn.devices.settings import own_settings
from jaxcnn.errors import UserError
from jaxcnn.laboratory.dry_run import Memory, compile_step, data_or_stand_in
from jaxcnn.ops.backend import rules_of
from jaxcnn.ops.lowering_rules import followed, following
from jaxcnn.recipes import Recipe
from jaxcnn.run_changes import with_whole_paths
from jaxcnn.work_folder import kept_rules


@own_settings()
def compile_to_file(
    recipe: Recipe, out: Path, topology: DataParallel | None = None, tuned: Path | None = None
) -> Memory:
    """Compiles a recipe's training step into a file for `jaxcnn.runs.train`; returns the memory that it needs.

    Args:
        recipe: the recipe.
        out: the path of the file.
        topology: the devices to compile for, which need not be there: see `over_topology`. By default they are those of
            this process.
        tuned: the folder of what XLA has found out by timing kernels on a GPU: see `jaxcnn.devices.autotuning`. It is
            read where there is a topology, and otherwise written.

    Raises:
        DoesNotFit: the step does not fit in a device's memory.
        UserError: as `assemble` does; or the file cannot be written; or the step is for GPUs that are not there, and
            the folder leaves open which algorithms its convolutions take.
    """
    config = with_whole_paths(recipe.config)
    data, _ = data_or_stand_in(config.data)
    parallel = topology or DataParallel.over_all_devices()
    # Some runtimes cannot write a program down that was itself read from where it was kept.
    rules = (kept_rules(recipe.run) if recipe.run else None) or followed()  # a run goes on with its own
    with rules_of(parallel.mesh.devices.flat[0].platform), following(rules), nothing_kept():
        assembly = assemble(config, data, parallel)
        with learning(None if topology else tuned) as options:
            compiled, memory = compile_step(assembly, options | learnt(tuned if topology else None))
        _check_choices(compiled, parallel)
        write_step(out, compiled, assembly, dataclasses.replace(recipe, config=config))
    return memory


def _check_choices(compiled: jax.stages.Compiled, parallel: DataParallel) -> None:
    """Refuses a step for GPUs that could not be run."""
    device = parallel.mesh.devices.flat[0]
    if device.platform not in ("gpu", "cuda") or not (count := open_choices(compiled)):
        return
    machine = machine_of(device)
    kind = machine.title if machine else device.device_kind
    raise UserError(
        f"{count:,} convolutions of the step have no algorithm, because XLA chooses it by timing on a GPU: run `jaxcnn "
        f"compile` with --tuned FOLDER and without --topology on one {kind}, with the versions that are installed here "
        "and the batch of one GPU, and give the same --tuned here"
    )
