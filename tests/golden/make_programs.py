"""Compiles a tiny training step for devices that are not there, and keeps the programs' texts for the tests of readers.

JAX_PLATFORMS=cpu python tests/golden/make_programs.py [NAME ...]

Needs ``pip install 'jaxcnn[cuda,tpu]'``, and takes minutes. The stored texts are of jax 0.10.2 with libtpu 0.0.52; the
tests hold for any version, so that new texts show whether the reader understands what newer compilers write.
"""

import dataclasses
import gzip
import json
import sys
from pathlib import Path

import jax

from jaxcnn.assembly import assemble
from jaxcnn.devices.parallel import DataParallel
from jaxcnn.devices.settings import own_settings
from jaxcnn.devices.topologies import over_topology
from jaxcnn.laboratory.dry_run import compile_step
from jaxcnn.ops.backend import rules_of
from jaxcnn.recipes import load_config

FOLDER = Path(__file__).parent
FLOPS = FOLDER / "program_flops.json"
RECIPE = FOLDER.parent / "recipes" / "tiny.py"
PROGRAMS = {
    "h100_8": ("h100:8", {}),
    "h100_2x8_groups": ("h100:2x8", {"batch_norm": 4, "micro_batches": 2}),
    "v5e_2x2": ("v5e:2x2", {}),
    "cpu": (None, {}),
}
"""The topology of each program, and its options among ``parallel``."""


@own_settings()
def compiled(name: str) -> jax.stages.Compiled:
    """The training step of the tiny recipe in bfloat16, with 64 images."""
    topology, options = PROGRAMS[name]
    config = load_config(RECIPE)
    model = dataclasses.replace(config.model, dtype="bfloat16")
    config = dataclasses.replace(config, model=model, parallel=dataclasses.replace(config.parallel, **options))
    parallel = over_topology(topology) if topology else DataParallel.over(jax.devices()[:1])
    with rules_of(parallel.mesh.devices.flat[0].platform):
        step, _ = compile_step(assemble(config, None, parallel))
    return step


if __name__ == "__main__":
    for each in sys.argv[1:] or PROGRAMS:
        step = compiled(each)
        packed = gzip.compress(step.as_text().encode(), mtime=0)
        (FOLDER / f"program_{each}.txt.gz").write_bytes(packed)
        # Compilers for GPUs have no such analysis.
        known = json.loads(FLOPS.read_text()) if FLOPS.exists() else {}
        known[each] = (step.cost_analysis() or {}).get("flops")
        FLOPS.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
        print(each, len(packed), "bytes", known[each], flush=True)
