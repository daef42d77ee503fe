"""Recipes compiled for accelerators that this machine does not have."""

import dataclasses
import os

from jax.experimental import topologies

from jaxcnn.config import TrainConfig
from jaxcnn.errors import UserError
from jaxcnn.laboratory.dry_run import DoesNotFit, DryRun, dry_run
from jaxcnn.training.parallel import DataParallel

# Nothing is run: processes may compile side by side, and there is no pod to ask for its hosts.
_ENVIRONMENT = {"ALLOW_MULTIPLE_LIBTPU_LOAD": "1", "TPU_WORKER_HOSTNAMES": "localhost"}


def over_topology(name: str) -> DataParallel:
    """Returns the devices of a TPU topology, which need not be there: what `dry_run` compiles for.

    Args:
        name: such as ``v5e:2x2``.

    Raises:
        UserError: libtpu is not installed, or knows no such topology.
    """
    for variable, value in _ENVIRONMENT.items():
        os.environ.setdefault(variable, value)
    try:
        devices = topologies.get_topology_desc(name, platform="tpu").devices
    except Exception as error:  # libtpu's own, of several types
        reason = str(error).splitlines()[0]
        raise UserError(
            f"there is no TPU topology {name!r} to compile for: name one as in v5e:2x2, and install libtpu with "
            f"pip install 'jaxcnn[tpu]' ({reason})"
        ) from None
    return DataParallel.over(devices)


def with_fewest_micro_batches(config: TrainConfig, topology: DataParallel) -> DryRun:
    """Returns `dry_run` of the recipe, its batch in as few micro-batches, doubled each time, as fit in memory.

    Raises:
        DoesNotFit: not even those that can be doubled no more do.
    """
    count = config.parallel.micro_batches
    while True:
        parallel = dataclasses.replace(config.parallel, micro_batches=count)
        try:
            return dry_run(dataclasses.replace(config, parallel=parallel), topology)
        except DoesNotFit:
            count *= 2
            if config.data.batch_size % (topology.mesh.size * count):
                raise
