"""Data parallelism: batches are split over the devices, and everything else is on each of them."""

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
    """The devices, in a mesh of one axis, ``data``, and the wrapper that spreads a step over them.

    Under ``jit`` the step is written for the whole batch, and the compiler splits it. Under ``shard_map`` and ``pmap``
    it is written for one device's part of the batch, and averages what must be the same on all devices.
    """

    mesh: jax.sharding.Mesh
    wrapper: Literal["jit", "shard_map", "pmap"] = "jit"

    @classmethod
    def over(cls, devices: Sequence[jax.Device]) -> "DataParallel":
        """Returns data parallelism over these devices."""
        return cls(jax.make_mesh((len(devices),), (AXIS,), axis_types=(AxisType.Auto,), devices=devices))

    @classmethod
    def over_all_devices(cls) -> "DataParallel":
        """Returns data parallelism over all devices of all processes."""
        return cls.over(jax.devices())

    @property
    def replicated(self) -> NamedSharding:
        """The sharding that puts a whole copy on each device."""
        return NamedSharding(self.mesh, PartitionSpec())

    @functools.cached_property
    def split(self) -> NamedSharding:
        """The sharding that splits the leading axis over the devices."""
        return NamedSharding(self.mesh, PartitionSpec(AXIS))

    @property
    def axis_name(self) -> str | None:
        """The mapped axis inside `over_devices`; None under ``jit``, where there is none."""
        return None if self.wrapper == "jit" else AXIS

    def put_batch(self, batch: PyTree) -> PyTree:
        """Sends a host batch to the devices, split by its leading axis; returns before the batch has arrived.

        Each process gives its own `rows`.
        """
        return jax.make_array_from_process_local_data(self.split, batch)

    def rows(self, batch_size: int) -> np.ndarray:
        """Returns the rows of a batch that are on this process's devices, ascending; all if it is the only process."""
        indices = self.split.addressable_devices_indices_map((batch_size,)).values()
        return np.unique(np.concatenate([np.arange(batch_size)[index] for index in indices if index is not None]))

    def put_everywhere(self, arrays: PyTree) -> PyTree:
        """Sends a whole copy of host arrays to each device; all processes must give the same arrays."""
        return jax.make_array_from_process_local_data(self.replicated, arrays)

    def over_devices(self, function: Callable[[PyTree, PyTree], PyTree]) -> Callable[[PyTree, PyTree], PyTree]:
        """Returns ``(shared, parts) -> result``, to be called in a jitted function.

        Args:
            function: a function of the same two arguments. Under ``jit`` it gets the whole arrays in ``parts``; under
                ``shard_map`` and ``pmap`` it gets one device's part of them, split by the leading axis, and its results
                must be the same on all devices: see `average`.
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

    def spread(self, tree: PyTree, axis: int = 0) -> PyTree:
        """Returns the same arrays, split over the devices along an axis; for use in a jitted function.

        Under ``jit`` the compiler chooses where an array lies. After an operation that mixes the images of a batch, as
        MixUp does, it would leave the whole batch on each device, and each would compute all of it. The other wrappers
        split their arguments themselves.
        """
        if self.wrapper != "jit" or self.mesh.size == 1:
            return tree
        sharding = NamedSharding(self.mesh, PartitionSpec(*[None] * axis, AXIS))
        return jax.tree.map(lambda x: lax.with_sharding_constraint(x, sharding), tree)

    def vary(self, tree: PyTree) -> PyTree:
        """Returns the same values marked as each device's own, so that their gradients are, too; for `over_devices`."""
        if self.wrapper != "shard_map":
            return tree
        return jax.tree.map(lambda x: lax.pcast(x, AXIS, to="varying"), tree)

    def average(self, tree: PyTree) -> PyTree:
        """Returns the mean over the devices; for use inside `over_devices`."""
        return tree if self.axis_name is None else lax.pmean(tree, AXIS)

    def sum(self, tree: PyTree) -> PyTree:
        """Returns the sum over the devices; for use inside `over_devices`."""
        return tree if self.axis_name is None else lax.psum(tree, AXIS)

    def own_key(self, key: jax.Array) -> jax.Array:
        """Returns the key from which a device draws for its own part of the batch; for use inside `over_devices`."""
        return key if self.axis_name is None else jax.random.fold_in(key, lax.axis_index(AXIS))

    def sharded(self, tree: PyTree) -> PyTree:
        """Returns the shardings that spread the arrays of a tree over the devices.

        Each array of more than one axis is split along the longest axis that the number of devices divides. Biases and
        the like are so small that sending them around would cost more than it saves.
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
            option: the name of the option that sets the batch size, for the message.
            batch_size: the number of images in a batch.
            parts: the number of parts into which each device's share is split.

        Raises:
            UserError: the batch cannot be split evenly. The message names the option and the nearest sizes that can.
        """
        unit = self.mesh.size * parts
        if batch_size % unit:
            lower = batch_size // unit * unit
            choices = f"{lower} or {lower + unit}" if lower else f"{unit}"
            into = f"{self.mesh.size} devices" + (f" and {parts} micro-batches" if parts > 1 else "")
            raise UserError(f"{option} {batch_size} cannot be split over {into}: use {choices}")

    def batch_norm_groups(self, scope: Literal["global", "local"] | int) -> int:
        """Returns the number of parts of the batch that have batch statistics of their own.

        Args:
            scope: ``global``; ``local`` to each device; or the number of devices in a group.

        Raises:
            UserError: the devices cannot be put into groups of this size.
        """
        match scope:
            case "global":
                size = self.mesh.size
            case "local":
                size = 1
            case _:
                size = scope
        if self.mesh.size % size:
            raise UserError(
                f"parallel.batch_norm {size} does not divide {self.mesh.size} devices into groups of {size}: give a "
                f"divisor of {self.mesh.size}, global or local"
            )
        return self.mesh.size // size
