"""The time that collectives take, from their bytes, their chips and the published figures of a machine: a model.

Between GPUs it is the model by which NCCL itself chooses an algorithm (``src/graph/tuning.cc`` of NVIDIA/nccl, version
2.20): rings and trees, under each of its three protocols, take a latency and a time for the bytes, and the fastest is
taken. Between TPUs it is that of the scaling book (``sharding.md`` of jax-ml/scaling-book): rings along all axes of the
torus at once. What lies between pods of TPUs goes by their hosts' network. All of it is a prediction; nothing here is
measured, and a machine's figures are ceilings, of which `LINK_SHARE` and `NETWORK_SHARE` are taken.
"""

import dataclasses
import math

from jaxcnn.devices.machines import Machine
from jaxcnn.errors import UserError

LINK_SHARE = 0.8
"""The share of the links' bandwidth that collectives reach: 235 of an A100's 300 GB/s in NCCL's model (``tuning.cc`` of
version 2.8), and 560 of 680 us for an all-gather over a TPU v5e's axis in the scaling book's ``sharding.md``."""
NETWORK_SHARE = 0.9
"""The share of the network's bandwidth that collectives reach; it is assumed."""
_HOP = 1e-6
"""The seconds from one TPU to its neighbour: "typically around 1us" in the scaling book."""
_TPU_START = 5e-6
"""The seconds before a TPU's collective sends: the scaling book has about 8 us for three hops of 1 us."""
_POD_HOP = 14e-6
"""The seconds of a message between pods of TPUs; NCCL's for a network, because none was found for Google's."""
_NETWORK_START = 1e-6
"""The seconds that the host takes to start each step of a ring that leaves it: NCCL's for hosts with Intel's CPUs."""
PASSES = {"all-reduce": 2, "all-gather": 1, "reduce-scatter": 1, "all-to-all": 1}
"""The times that an array goes round all chips: an all-reduce is a reduce-scatter and an all-gather."""


@dataclasses.dataclass(frozen=True)
class _Protocol:
    """One of NCCL's protocols: the shares of the bandwidth that it leaves, and latencies in seconds."""

    ring_share: float
    tree_share: float
    ring_start: float
    tree_start: float
    ring_hop: float
    tree_hop: float
    ring_network_hop: float
    tree_network_hop: float


# The tables baseLat and hwLat (NVLink and network) of tuning.cc, and its factors of the bandwidth.
_PROTOCOLS = (
    _Protocol(1 / 4, 0.92 / 3.8, 6.6e-6, 6.8e-6, 0.6e-6, 0.6e-6, 2.7e-6, 5.0e-6),  # LL
    _Protocol(0.92, 0.92 * 7 / 9, 14.0e-6, 14.0e-6, 1.9e-6, 1.25e-6, 4.0e-6, 8.5e-6),  # LL128
    _Protocol(1.0, 0.92, 8.4e-6, 0.0, 3.4e-6, 28e-6, 14e-6, 28e-6),  # Simple
)


@dataclasses.dataclass(frozen=True)
class Torus:
    """The shape of a slice of TPUs, and what its links carry."""

    axes: tuple[int, ...]
    """The chips along each axis, none of them 1 unless the slice is a single chip."""
    wrapped: tuple[bool, ...]
    """Whether each axis is a ring and not a line."""

    @classmethod
    def of(cls, chips: int, machine: Machine) -> "Torus":
        """Returns the most compact slice of a machine with this many chips, as Google offers them.

        Two-dimensional slices are rings along an axis that is as long as the whole pod's, and three-dimensional ones
        where all axes are multiples of 4 (``tpus.md`` of the scaling book).
        """
        dimensions = machine.links // 2
        axes = tuple(length for length in _compact(chips, dimensions) if length > 1) or (1,)
        if dimensions == 2:
            side = math.isqrt(machine.chips_per_domain or 0)
            wrapped = tuple(length == side for length in axes)
        else:
            whole = len(axes) == dimensions and all(length % 4 == 0 for length in axes)
            wrapped = (whole,) * len(axes)
        return cls(axes, wrapped)

    def bandwidth(self, machine: Machine) -> float:
        """Returns the bytes a second that a chip sends in a collective over all axes: both ways round a ring."""
        assert machine.link_bytes_per_s is not None  # `seconds` has refused it
        link = machine.link_bytes_per_s / machine.links
        return link * sum(2 if ring else 1 for ring in self.wrapped)

    @property
    def hops(self) -> int:
        """The number of links between the two chips that are farthest apart."""
        return sum(length // 2 if ring else length - 1 for length, ring in zip(self.axes, self.wrapped, strict=True))


def most_chips(machine: Machine) -> int | None:
    """Returns the most chips that there are figures for: those that links join.

    None where the network's bandwidth is known, too, and where nothing is known of links, which `seconds` refuses.
    """
    return machine.chips_per_domain if machine.links and machine.host_bytes_per_s is None else None


def seconds(operation: str, size: float, chips: int, machine: Machine) -> float:
    """Returns the predicted seconds of a collective over neighbouring chips.

    Args:
        operation: ``all-reduce``, ``all-gather``, ``reduce-scatter``, ``all-to-all`` or ``collective-permute``.
        size: the bytes of the whole array: what each chip gives to an all-reduce or a reduce-scatter, and what each
            has after an all-gather.
        chips: the chips that take part.
        machine: the machine that these are.

    Raises:
        UserError: the machine's bandwidth between its chips is not known, or there is no such operation.
    """
    if operation not in PASSES and operation != "collective-permute":
        raise UserError(f"there is no model of the time of {operation}: there are ones of {', '.join(PASSES)}")
    if chips <= 1:
        return 0.0
    if machine.link_bytes_per_s is None or machine.links == 0:
        raise UserError(
            f"no bandwidth between chips is known of {machine.name}, so that communication cannot be predicted: choose "
            "another --machine"
        )
    most = most_chips(machine)
    if most is not None and chips > most:
        raise UserError(
            f"no bandwidth of the hosts' network is known of {machine.name}, whose links join {most} chips: ask for "
            "that many --chips at most"
        )
    predict = _between_gpus if machine.kind == "gpu" else _between_tpus
    return predict(operation, size, chips, machine)


def _between_gpus(operation: str, size: float, chips: int, machine: Machine) -> float:
    assert machine.link_bytes_per_s is not None
    domains = math.ceil(chips / (machine.chips_per_domain or chips))
    inside = math.ceil(chips / domains)
    bus, start = LINK_SHARE * machine.link_bytes_per_s, 0.0
    if domains > 1:
        assert machine.host_bytes_per_s is not None
        # Each chip has its own part of the host's network, and the rings leave the host by all of them.
        bus = min(bus, NETWORK_SHARE * machine.host_bytes_per_s * inside / (machine.chips_per_host or inside))
        start = _NETWORK_START
    if operation == "collective-permute":
        return min(each.ring_start + each.ring_hop + size / (bus * each.ring_share) for each in _PROTOCOLS)
    passes = PASSES[operation]
    steps, crossings = passes * (chips - 1), passes * domains if domains > 1 else 0
    found = []
    for each in _PROTOCOLS:
        hops = (steps - crossings) * max(each.ring_hop, start) + crossings * each.ring_network_hop
        found.append(each.ring_start + hops + steps / chips * size / (bus * each.ring_share))
        if operation == "all-reduce":
            levels = (inside - 1) * each.tree_hop + math.log2(domains) * each.tree_network_hop
            found.append(each.tree_start + 2 * levels + 2 * size / (bus * each.tree_share))
    return min(found)


def _between_tpus(operation: str, size: float, chips: int, machine: Machine) -> float:
    domain = machine.chips_per_domain or chips
    pods = math.ceil(chips / domain)
    inside = math.ceil(chips / pods)
    torus = Torus.of(inside, machine)
    bandwidth = LINK_SHARE * torus.bandwidth(machine)
    if operation == "collective-permute":
        return _TPU_START + torus.hops * _HOP + size / bandwidth
    passes = PASSES[operation]
    within = _TPU_START + passes * max(torus.hops * _HOP, (inside - 1) / inside * size / bandwidth)
    if pods == 1:
        return within
    assert machine.host_bytes_per_s is not None
    # Each chip of a pod exchanges its own part of the array with those of the other pods, by its host's network.
    part = size * (machine.chips_per_host or 1) / inside
    between = passes * (pods - 1) * (_POD_HOP + part / pods / (NETWORK_SHARE * machine.host_bytes_per_s))
    return within + between


def _compact(chips: int, dimensions: int) -> list[int]:
    """Returns factors of a number that are near each other, ascending."""
    if dimensions <= 1:
        return [chips]
    root = round(chips ** (1 / dimensions))
    first = next(each for each in range(root, 0, -1) if chips % each == 0)
    return sorted([first, *_compact(chips // first, dimensions - 1)])
