import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxcnn.devices.machines import machine, machines
from jaxcnn.laboratory.program import KINDS, Kernel, Program
from jaxcnn.laboratory.roofline import Roofline, bounds

CONVOLUTION = Kernel(
    name="conv",
    opcode="__cudnn$convForward",
    kind="convolution",
    layer="stage1/conv",
    phase="forward",
    flops=0,
    multiply_adds=10**12,
    bytes_read=10**9,
    bytes_written=10**9,
    dtype="bfloat16",
)
SUM = dataclasses.replace(
    CONVOLUTION, name="sum", kind="reduction", layer="stage1/norm", phase="backward", multiply_adds=0, count=3
)


def bound(kernel, on, **shares):
    (found,) = bounds([kernel], on, **shares)
    return found


def test_the_side_that_takes_longer_binds():
    h100 = machine("h100")
    compute = 2e12 / (0.7 * h100.flops["bfloat16"])
    memory = 2e9 / (0.9 * h100.memory_bytes_per_s)
    assert bound(CONVOLUTION, h100) == pytest.approx(compute)
    assert bound(SUM, h100) == pytest.approx(memory)
    assert bound(CONVOLUTION, h100, memory_share=0.1, compute_share=1.0) == pytest.approx(9 * memory)
    exact = dataclasses.replace(CONVOLUTION, dtype="float32")
    assert bound(exact, h100) == pytest.approx(2e12 / (0.7 * h100.flops["float32"]))


def test_a_device_that_is_half_a_chip_has_half_of_it():
    v3 = machine("v3")
    assert v3.devices_per_chip == 2
    assert bound(CONVOLUTION, v3) == pytest.approx(2 * 2e12 / (0.7 * v3.flops["bfloat16"]))
    assert bound(SUM, v3) == pytest.approx(2 * 2e9 / (0.9 * v3.memory_bytes_per_s))


def test_a_programs_bound_is_that_of_all_runs_of_its_kernels():
    h100 = machine("h100")
    found = Roofline.of(Program((CONVOLUTION, SUM), 1, "gpu"), h100)
    first, second = bound(CONVOLUTION, h100), 3 * bound(SUM, h100)
    assert found.seconds == found.whole.seconds == pytest.approx(first + second)
    assert list(found.by_layer) == ["stage1/conv", "stage1/norm"]  # from the greatest
    assert (found.by_kind["reduction"].kernels, found.by_kind["reduction"].bytes) == (3, 6 * 10**9)
    assert found.by_phase["backward"].share == pytest.approx(second / (first + second))
    assert found.by_phase["backward"].memory_bound == 1
    assert found.by_phase["forward"].memory_bound == 0
    assert found.whole.memory_bound == pytest.approx(second / (first + second))


def test_a_transfer_uses_the_memory_while_products_do_not():
    v5e = machine("v5e")
    memory = bound(SUM, v5e)
    idle = bound(CONVOLUTION, v5e) - memory  # both move as many bytes
    transfer = dataclasses.replace(SUM, kind="transfer", count=1, bytes_read=12 * 10**9, bytes_written=0, beside=2)
    first, product, total, second = bounds([transfer, CONVOLUTION, SUM, dataclasses.replace(transfer, beside=0)], v5e)
    assert second == pytest.approx(6 * memory)
    assert 0 < idle < second
    assert first == pytest.approx(second - idle)
    assert (product, total) == pytest.approx((bound(CONVOLUTION, v5e), memory))
    # What one has used is not there for the next, and kernels behind the end of a transfer do not hide it.
    assert bounds([transfer, transfer, CONVOLUTION, SUM], v5e)[1] == pytest.approx(second)
    assert bounds([dataclasses.replace(transfer, beside=1), SUM, CONVOLUTION], v5e)[0] == pytest.approx(second)
    small = dataclasses.replace(transfer, bytes_read=10**6)
    assert bounds([small, CONVOLUTION, SUM], v5e)[0] == 0
    found = Roofline.of(Program((transfer, CONVOLUTION, SUM), 1, "tpu"), v5e)
    assert found.seconds == pytest.approx(first + product + 3 * total)
    assert found.by_kind["transfer"].seconds == pytest.approx(first)


def test_nothing_takes_no_time():
    found = Roofline.of(Program((), 8, "tpu"), machine("v5e"))
    assert (found.seconds, found.by_kind, found.whole.share) == (0, {}, 0)


kernels = st.builds(
    dataclasses.replace,
    st.just(CONVOLUTION),
    kind=st.sampled_from(KINDS),
    layer=st.sampled_from(["", "a", "a/b"]),
    multiply_adds=st.integers(0, 10**13),
    bytes_read=st.integers(0, 10**11),
    count=st.integers(1, 50),
    dtype=st.sampled_from(["bfloat16", "tensorfloat32", "float32"]),
)


@settings(max_examples=30)
@given(st.lists(kernels, max_size=4), st.sampled_from(sorted(machines())))
def test_groups_add_up_to_the_whole(found, name):
    roofline = Roofline.of(Program(tuple(found), 1, "gpu"), machine(name))
    for groups in (roofline.by_kind, roofline.by_phase, roofline.by_layer):
        assert sum(each.seconds for each in groups.values()) == pytest.approx(roofline.seconds)
        assert sum(each.bytes for each in groups.values()) == roofline.whole.bytes
        assert sum(each.share for each in groups.values()) == pytest.approx(1.0 if roofline.seconds else 0.0)
