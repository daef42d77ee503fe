"""Recipes compiled for accelerators that this machine does not have."""

import dataclasses

import jax
import numpy as np
from jax.experimental import topologies

from jaxcnn.analysis.dry_run import DoesNotFit, DryRun, dry_run
from jaxcnn.config import TrainConfig
from jaxcnn.errors import UserError
from jaxcnn.training.parallel import DataParallel


def over_topology(name: str) -> DataParallel:
    """Returns the devices of a TPU topology, which need not be there: what `dry_run` compiles for.

    Args:
        name: such as ``v5e:2x2``.

    Raises:
        UserError: libtpu is not installed, or knows no such topology.
    """
    try:
        devices = topologies.get_topology_desc(name, platform="tpu").devices
    except Exception as error:  # libtpu's own, of several types
        reason = str(error).splitlines()[0]
        raise UserError(
            f"there is no TPU topology {name!r} to compile for: name one as in v5e:2x2, and install libtpu with "
            f"pip install 'jaxcnn[tpu]' ({reason})"
        ) from None
    mesh = jax.sharding.Mesh(np.array(devices), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    return DataParallel(mesh)


def largest_that_fits(config: TrainConfig, topology: DataParallel) -> DryRun:
    """Returns `dry_run` at the recipe's batch size, or where that does not fit, the largest power of two that does.

    Raises:
        DoesNotFit: not even one image a device does.
    """
    first, refusal = config.data.batch_size, None
    smaller = (2**power for power in reversed(range(first.bit_length())))
    for size in (first, *(size for size in smaller if topology.mesh.size <= size < first)):
        data = dataclasses.replace(config.data, batch_size=size)
        try:
            return dry_run(dataclasses.replace(config, data=data), topology)
        except DoesNotFit as error:
            refusal = error
    raise refusal
