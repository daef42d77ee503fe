"""Saves and restores a state that is spread over the processes: `python spread_state.py FOLDER [PROCESSES]`.

Each process prints the step it restored: first where all is whole, then where process 1 finds the newest damaged.
"""

import sys
from pathlib import Path

import jax
import numpy as np
import tyro

from jaxcnn.devices.parallel import DataParallel
from jaxcnn.devices.processes import Processes
from jaxcnn.training import checkpoint
from jaxcnn.training.checkpoint import Checkpoints
from jaxcnn.training.manifest import Damage, verify

VALUES = np.random.default_rng(0).normal(size=(8, 16)).astype(np.float32)


def state_of(step, parallel):
    """A leaf whose rows are spread over the devices, and one that all have."""
    values = VALUES * step
    spread = jax.make_array_from_callback(values.shape, parallel.split, lambda index: values[index])
    return {"copied": parallel.put_everywhere(values), "spread": spread}


def damaged_for_process_one(folder):
    if jax.process_index() == 1 and folder.name == "2":
        raise Damage("state/d is missing")
    return verify(folder)


def restore(checkpoints, parallel):
    restored = checkpoints.restore(state_of(0, parallel))
    for leaf in restored.state.values():
        for shard in leaf.addressable_shards:
            assert np.asarray(shard.data).tobytes() == (VALUES * restored.step)[shard.index].tobytes()
    print("restored", restored.step)


if __name__ == "__main__":
    with tyro.cli(Processes, args=sys.argv[2:]).joined():
        parallel, said = DataParallel.over_all_devices(), []
        with Checkpoints(Path(sys.argv[1]), on_damage=said.append) as checkpoints:
            for step in (1, 2):
                checkpoints.save(step, state_of(step, parallel))
            restore(checkpoints, parallel)
            checkpoint.verify = damaged_for_process_one
            restore(checkpoints, parallel)
        print(*said)
