"""Where arrays live: batches split over the devices, everything else on each of them."""

import dataclasses
import functools
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxcnn.errors import UserError


@dataclasses.dataclass(frozen=True)
class DataParallel:
    """All devices in one mesh axis, ``data``. Under ``jit`` the step's meaning does not depend on their number."""

    mesh: jax.sharding.Mesh

    @classmethod
    def over_all_devices(cls) -> "DataParallel":
        """Returns the mesh of every device there is."""
        return cls(jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,)))

    @property
    def replicated(self) -> NamedSharding:
        """A whole copy on each device."""
        return NamedSharding(self.mesh, PartitionSpec())

    @functools.cached_property
    def split(self) -> NamedSharding:
        """The leading axis split over the devices."""
        return NamedSharding(self.mesh, PartitionSpec("data"))

    def put_batch(self, batch: Any) -> Any:
        """Sends a host batch to the devices, split by its leading axis; returns before it has arrived.

        Each process gives its own `rows`.
        """
        return jax.make_array_from_process_local_data(self.split, batch)

    def rows(self, batch_size: int) -> np.ndarray:
        """Returns which rows of a batch live on this process' devices, in their order; all where it is the only one."""
        slices = self.split.addressable_devices_indices_map((batch_size,)).values()
        return np.unique(np.concatenate([np.arange(batch_size)[rows] for (rows,) in slices]))

    def put_everywhere(self, arrays: Any) -> Any:
        """Sends a whole copy of host arrays to each device; all processes give the same."""
        return jax.make_array_from_process_local_data(self.replicated, arrays)

    def check_batch_size(self, option: str, batch_size: int) -> None:
        """Refuses a batch that cannot be split evenly.

        Raises:
            UserError: naming the option, and the sizes that work.
        """
        devices = self.mesh.size
        if batch_size % devices:
            lower = batch_size // devices * devices
            choices = f"{lower} or {lower + devices}" if lower else f"{devices}"
            raise UserError(f"{option} {batch_size} cannot be split over {devices} devices: use {choices}")
