"""Devices that this machine does not have, to compile for."""

import os

from jax.experimental import topologies

from jaxcnn.devices.parallel import DataParallel
from jaxcnn.errors import UserError

# Nothing is run, so several processes may compile at the same time, and there is no pod whose hosts must be found.
_ENVIRONMENT = {"ALLOW_MULTIPLE_LIBTPU_LOAD": "1", "TPU_WORKER_HOSTNAMES": "localhost"}


def over_topology(name: str) -> DataParallel:
    """Returns data parallelism over the devices of a TPU topology, which need not be there, for `dry_run` to use.

    Args:
        name: the name of a topology, such as ``v5e:2x2``.

    Raises:
        UserError: libtpu is not installed, or knows no such topology.
    """
    for variable, value in _ENVIRONMENT.items():
        os.environ.setdefault(variable, value)
    try:
        devices = topologies.get_topology_desc(name, platform="tpu").devices
    except Exception as error:  # libtpu raises several types
        reason = str(error).splitlines()[0]
        raise UserError(
            f"there is no TPU topology {name!r} to compile for: name one as in v5e:2x2, and install libtpu with "
            f"pip install 'jaxcnn[tpu]' ({reason})"
        ) from None
    return DataParallel.over(devices)
