"""A compiled step for another machine, or for this one: compiled here, and written into a file."""

import dataclasses
from pathlib import Path

from jaxcnn.assembly import assemble
from jaxcnn.compiled_step import write_step
from jaxcnn.devices.compilation import nothing_kept
from jaxcnn.devices.parallel import DataParallel
from jaxcnn.devices.settings import own_settings
from jaxcnn.laboratory.dry_run import Memory, compile_step, data_or_stand_in
from jaxcnn.ops.lowering_rules import followed, following, rules_of
from jaxcnn.recipes import Recipe
from jaxcnn.run_changes import with_whole_paths
from jaxcnn.work_folder import kept_rules


@own_settings()
def compile_to_file(recipe: Recipe, out: Path, topology: DataParallel | None = None) -> Memory:
    """Compiles a recipe's training step into a file for `jaxcnn.runs.train`; returns the memory that it needs.

    Args:
        recipe: the recipe.
        out: the path of the file.
        topology: the devices to compile for, which need not be there: see `over_topology`. By default they are those of
            this process.

    Raises:
        DoesNotFit: the step does not fit in a device's memory.
        UserError: as `assemble` does; or the file cannot be written.
    """
    config = with_whole_paths(recipe.config)
    data, _ = data_or_stand_in(config.data)
    parallel = topology or DataParallel.over_all_devices()
    # Some runtimes cannot write a program down that was itself read from where it was kept.
    rules = (kept_rules(recipe.run) if recipe.run else None) or followed()  # a run goes on with its own
    with rules_of(parallel.mesh.devices.flat[0].platform), following(rules), nothing_kept():
        assembly = assemble(config, data, parallel)
        compiled, memory = compile_step(assembly)
        write_step(out, compiled, assembly, dataclasses.replace(recipe, config=config))
    return memory
