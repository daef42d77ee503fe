"""How a step is spread over the devices: batches split, everything else on each of them."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Literal

import jax
import numpy as np
from jax import lax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxcnn.errors import UserError
from jaxcnn.types import PyTree

AXIS = "data"


@dataclasses.dataclass(frozen=True)
class DataParallel:
    """All devices in one mesh axis, ``data``.

    Under ``jit`` the step is written for the whole batch, and the compiler splits it. Under ``shard_map`` and ``pmap``
    it is written for one device's part, and averages what must be the same on all.
    """

    mesh: jax.sharding.Mesh
    wrapper: Literal["jit", "shard_map", "pmap"] = "jit"

    @classmethod
    def over(cls, devices: Sequence[jax.Device]) -> "DataParallel":
        """Returns the mesh of these devices."""
        return cls(jax.make_mesh((len(devices),), (AXIS,), axis_types=(AxisType.Auto,), devices=devices))

    @classmethod
    def over_all_devices(cls) -> "DataParallel":
        """Returns the mesh of every device there is."""
        return cls.over(jax.devices())

    @property
    def replicated(self) -> NamedSharding:
        """A whole copy on each device."""
        return NamedSharding(self.mesh, PartitionSpec())

    @functools.cached_property
    def split(self) -> NamedSharding:
        """The leading axis split over the devices."""
        return NamedSharding(self.mesh, PartitionSpec(AXIS))

    @property
    def axis_name(self) -> str | None:
        """The mapped axis inside `over_devices`; None where there is none, under ``jit``."""
        return None if self.wrapper == "jit" else AXIS

    def put_batch(self, batch: PyTree) -> PyTree:
        """Sends a host batch to the devices, split by its leading axis; returns before it has arrived.

        Each process gives its own `rows`.
        """
        return jax.make_array_from_process_local_data(self.split, batch)

    def rows(self, batch_size: int) -> np.ndarray:
        """Returns which rows of a batch live on this process' devices, in their order; all where it is the only one."""
        indices = self.split.addressable_devices_indices_map((batch_size,)).values()
        return np.unique(np.concatenate([np.arange(batch_size)[index] for index in indices if index is not None]))

    def put_everywhere(self, arrays: PyTree) -> PyTree:
        """Sends a whole copy of host arrays to each device; all processes give the same."""
        return jax.make_array_from_process_local_data(self.replicated, arrays)

    def over_devices(self, function: Callable[[PyTree, PyTree], PyTree]) -> Callable[[PyTree, PyTree], PyTree]:
        """Returns ``(shared, parts) -> result``, to be called in a jitted function.

        Args:
            function: takes the same, of which the arrays in ``parts`` are split by their leading axis: under ``jit``
                all of them, under ``shard_map`` and ``pmap`` one device's. There its results must be the same on all
                devices: see `average`.
        """
        match self.wrapper:
            case "jit":
                return function
            case "shard_map":
                specs = (PartitionSpec(), PartitionSpec(AXIS))
                return jax.shard_map(function, mesh=self.mesh, in_specs=specs, out_specs=PartitionSpec())
            case "pmap":
                devices = self.mesh.devices.flatten().tolist()
                mapped = jax.pmap(function, AXIS, in_axes=(None, 0), out_axes=None, devices=devices)

                def run(shared: PyTree, parts: PyTree) -> PyTree:
                    size = len(devices)
                    by_device = jax.tree.map(lambda x: x.reshape(size, x.shape[0] // size, *x.shape[1:]), parts)
                    return mapped(shared, by_device)

                return run

    def vary(self, tree: PyTree) -> PyTree:
        """Inside `over_devices`: the same values, as each device's own, so that gradients for them are, too."""
        if self.wrapper != "shard_map":
            return tree
        return jax.tree.map(lambda x: lax.pcast(x, AXIS, to="varying"), tree)

    def average(self, tree: PyTree) -> PyTree:
        """Inside `over_devices`: the mean of all devices' values."""
        return tree if self.axis_name is None else lax.pmean(tree, AXIS)

    def sum(self, tree: PyTree) -> PyTree:
        """Inside `over_devices`: the sum of all devices' values."""
        return tree if self.axis_name is None else lax.psum(tree, AXIS)

    def own_key(self, key: jax.Array) -> jax.Array:
        """Inside `over_devices`: a key for what each device draws for its own part of the batch."""
        return key if self.axis_name is None else jax.random.fold_in(key, lax.axis_index(AXIS))

    def sharded(self, tree: PyTree) -> PyTree:
        """Returns where to keep the arrays of a tree if they are to be spread over the devices.

        Each array of more than one axis is split along the longest that the devices divide; biases and the like are so
        small that sending them around would cost more than it saves.
        """

        def of(leaf: jax.Array) -> NamedSharding:
            fitting = [axis for axis, length in enumerate(leaf.shape) if length and length % self.mesh.size == 0]
            if leaf.ndim < 2 or not fitting:
                return self.replicated
            longest = max(fitting, key=lambda axis: leaf.shape[axis])
            return NamedSharding(self.mesh, PartitionSpec(*[None] * longest, AXIS))

        return jax.tree.map(of, tree)

    def check_batch_size(self, option: str, batch_size: int, parts: int = 1) -> None:
        """Refuses a batch that cannot be split evenly.

        Args:
            option: its name.
            batch_size: its value.
            parts: into which it is split on each device, besides.

        Raises:
            UserError: naming the option, and the sizes that work.
        """
        unit = self.mesh.size * parts
        if batch_size % unit:
            lower = batch_size // unit * unit
            choices = f"{lower} or {lower + unit}" if lower else f"{unit}"
            into = f"{self.mesh.size} devices" + (f" and {parts} micro-batches" if parts > 1 else "")
            raise UserError(f"{option} {batch_size} cannot be split over {into}: use {choices}")

    def batch_norm_groups(self, scope: Literal["global", "local"] | int) -> int:
        """Returns how many parts of the batch have batch statistics of their own.

        Args:
            scope: ``global``, ``local`` to each device, or to each group of so many.

        Raises:
            UserError: the devices cannot be grouped so.
        """
        match scope:
            case "global":
                size = self.mesh.size
            case "local":
                size = 1
            case _:
                size = scope
        if self.mesh.size % size:
            raise UserError(f"parallel.batch_norm {size}: {self.mesh.size} devices cannot be put into groups of {size}")
        return self.mesh.size // size
