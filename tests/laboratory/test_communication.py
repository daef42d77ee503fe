"""The model of communication, against what its sources say and what no link can be faster than."""

import dataclasses

import pytest
from hypothesis import given, strategies

from jaxcnn.devices.machines import machine
from jaxcnn.errors import UserError
from jaxcnn.laboratory.communication import LINK_SHARE, PASSES, Torus, seconds

MACHINES = strategies.sampled_from(["v100", "a100", "h100", "b200", "gb200", "v4", "v5e", "v5p", "v6e"])
CHIPS = strategies.sampled_from([2, 4, 8, 16, 48, 64, 256, 1024, 4096])
SIZES = strategies.integers(1, 10**9)


@given(MACHINES, CHIPS, SIZES, strategies.sampled_from(sorted(PASSES)))
def test_no_collective_is_faster_than_its_links(name, chips, size, operation):
    known = machine(name)
    found = seconds(operation, size, chips, known)
    assert found >= PASSES[operation] * (chips - 1) / chips * size / known.link_bytes_per_s
    assert found >= 1e-6
    assert seconds(operation, 2 * size, chips, known) >= found
    assert seconds(operation, size, 1, known) == 0


@given(MACHINES, SIZES)
def test_many_hosts_take_longer_than_one(name, size):
    known = machine(name)
    inside = known.chips_per_domain
    assert seconds("all-reduce", size, 2 * inside, known) > seconds("all-reduce", size, inside, known)


def test_large_arrays_take_what_the_bandwidth_says():
    # NCCL's model gives an A100 a bus bandwidth of 235 GB/s in a host, and the bus' is that of the links here.
    bus = 2 * 7 / 8 * 1e9 / seconds("all-reduce", 1e9, 8, machine("a100"))
    assert bus == pytest.approx(235e9, rel=0.03)
    # Eight adapters of 50 GB/s carry what leaves an H100's host.
    bus = 2 * 63 / 64 * 1e10 / seconds("all-reduce", 1e10, 64, machine("h100"))
    assert bus == pytest.approx(min(0.9 * 400e9, LINK_SHARE * 450e9), rel=0.03)
    # A whole pod of TPU v5e: V / (W axes), with 90 GB/s both ways round each of two axes.
    assert seconds("all-gather", 1e9, 256, machine("v5e")) == pytest.approx(1e9 / (LINK_SHARE * 180e9), rel=0.01)


def test_few_bytes_take_what_the_hops_say():
    # The protocol of low latency, by a ring: 6.6 us, and 14 steps of 0.6 us.
    assert seconds("all-reduce", 64, 8, machine("h100")) == pytest.approx((6.6 + 14 * 0.6) * 1e-6, rel=0.01)
    # By a tree over 512 hosts, because a ring takes 8,190 steps.
    assert seconds("all-reduce", 64, 4096, machine("h100")) == pytest.approx(
        (6.8 + 2 * (7 * 0.6 + 9 * 5.0)) * 1e-6, rel=0.01
    )
    # Half way round two rings of 16, there and back.
    assert seconds("all-reduce", 64, 256, machine("v5e")) == pytest.approx((5 + 2 * 16) * 1e-6, rel=0.01)


@pytest.mark.parametrize(
    ("name", "chips", "axes", "wrapped"),
    [
        ("v5e", 1, (1,), (False,)),
        ("v5e", 8, (2, 4), (False, False)),
        ("v5e", 128, (8, 16), (False, True)),
        ("v5e", 256, (16, 16), (True, True)),
        ("v3", 1024, (32, 32), (True, True)),
        ("v4", 4, (2, 2), (False, False)),
        ("v4", 32, (2, 4, 4), (False, False, False)),
        ("v4", 64, (4, 4, 4), (True, True, True)),
        ("v4", 4096, (16, 16, 16), (True, True, True)),
    ],
)
def test_slices_are_compact_and_closed_where_googles_are(name, chips, axes, wrapped):
    assert Torus.of(chips, machine(name)) == Torus(axes, wrapped)


def test_an_axis_of_four_takes_the_scaling_books_time():
    # 34 MB over an axis of 4 chips of TPU v5e that is no ring: 3 x 8.4 MB / 45 GB/s, and 3 hops.
    axis = Torus((4,), (False,))
    assert 3 / 4 * 33.55e6 / axis.bandwidth(machine("v5e")) == pytest.approx(560e-6, rel=0.01)
    assert axis.hops == 3


def test_what_is_not_known_is_refused():
    with pytest.raises(UserError, match="no bandwidth between chips is known of t4"):
        seconds("all-reduce", 1, 2, machine("t4"))
    with pytest.raises(UserError, match=r"hosts' network is known of v3, whose links join 1024 chips"):
        seconds("all-reduce", 1, 2048, machine("v3"))
    joined = dataclasses.replace(machine("v3"), chips_per_domain=4096)
    assert seconds("all-reduce", 1, 4096, joined) < 1e-3
    with pytest.raises(UserError, match="no model of the time of all-to-nothing"):
        seconds("all-to-nothing", 1, 2, machine("h100"))


def test_a_permutation_goes_round_once():
    for name in ("h100", "v5e"):
        permuted = seconds("collective-permute", 1e9, 8, machine(name))
        assert 1e9 / machine(name).link_bytes_per_s < permuted < 2 * seconds("all-reduce", 1e9, 8, machine(name))
