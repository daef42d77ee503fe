"""Predictions from steps that are made by hand, for which they can be worked out."""

import dataclasses

import pytest
from hypothesis import given, strategies

from jaxcnn.devices.machines import machine
from jaxcnn.laboratory import communication
from jaxcnn.laboratory.collectives import Collective
from jaxcnn.laboratory.program import Kernel, Program
from jaxcnn.laboratory.roofline import bounds
from jaxcnn.laboratory.scaling import Exchange, Scaling, Step, cost, images_per_host, step_of, to_compile

H100 = machine("h100")
GRADIENT = Exchange("all-reduce", 100_000_000, None, blocking=False)
STATISTICS = Exchange("all-reduce", 1_000, None, blocking=True)
STEPS = {batch: Step(batch, (1e-3 * batch,), (GRADIENT, STATISTICS), 10**9) for batch in (1, 32, 256)}
SCALING = Scaling(H100, STEPS)


def kernel(**changes):
    facts = {"name": "k", "opcode": "fusion", "kind": "elementwise", "layer": "", "phase": "forward", "flops": 0}
    facts |= {"multiply_adds": 0, "bytes_read": 3_000_000, "bytes_written": 0, "dtype": "float32"}
    return Kernel(**(facts | changes))


def exchange(size, groups, **changes):
    found = Collective("all-reduce", size, groups, "float32")
    return kernel(opcode="all-reduce", kind="collective", collective=found, **changes)


def test_a_step_is_what_its_program_computes_and_exchanges():
    everybody, pairs = (tuple(range(4)),), ((0, 1), (2, 3))
    kernels = (
        kernel(count=3),
        exchange(16, everybody),
        exchange(8, pairs),
        kernel(phase="backward", kind="convolution", multiply_adds=10**9, dtype="bfloat16"),
        exchange(400, everybody, phase="backward", count=2),
        exchange(24, everybody),  # merged from the statistics' and the gradient's: it is too late to be waited for
    )
    step = step_of(Program(kernels, 4, "gpu"), H100, batch=16, devices=4, memory_bytes=5)
    first, *_, fourth = bounds([kernels[0], kernels[3]], H100)
    assert step.compute_seconds() == pytest.approx(3 * first + fourth)
    assert [(each.bytes, each.chips, each.blocking) for each in step.exchanges] == [
        (16, None, True),
        (8, 2, True),
        (400, None, False),
        (400, None, False),
        (24, None, False),
    ]
    # Four kernels take 10 ms at least.
    assert step.compute_seconds(0.01) == pytest.approx(0.04)
    assert Step.from_json(step.to_json()) == step
    # What a transfer hides behind products takes no time, and it is not started like a kernel.
    hidden = kernel(kind="transfer", bytes_read=1, beside=1), kernels[3]
    assert step_of(Program(hidden, 1, "tpu"), H100, batch=1, devices=1, memory_bytes=5).kernel_seconds == (fourth,)
    # Two devices of a TPU v3 are a chip.
    of_v3 = step_of(Program(kernels, 4, "tpu"), machine("v3"), batch=16, devices=4, memory_bytes=5)
    assert [each.chips for each in of_v3.exchanges[:2]] == [None, 1]


def test_the_bounds_of_a_step_are_those_of_its_parts():
    found = SCALING.predict(64, 32)
    gradient = communication.seconds("all-reduce", 100_000_000, 64, H100)
    statistics = communication.seconds("all-reduce", 1_000, 64, H100)
    assert (found.compute_seconds, found.exchange_seconds, found.blocking_seconds) == (0.032, gradient, statistics)
    assert found.fastest == pytest.approx(statistics + 0.032)
    assert found.slowest == pytest.approx(statistics + 0.032 + gradient)
    assert found.rates == (64 * 32 / found.slowest, 64 * 32 / found.fastest)
    assert not found.interpolated
    alone = SCALING.predict(1, 32)
    assert alone.fastest == alone.slowest == 0.032


@given(strategies.integers(1, 256), strategies.sampled_from([1, 8, 64, 4096]))
def test_computation_between_compiled_steps_is_interpolated(batch, chips):
    found = SCALING.predict(chips, batch)
    assert found.compute_seconds == pytest.approx(1e-3 * batch)
    assert found.interpolated == (batch not in STEPS)
    assert found.fastest <= found.slowest


def test_small_kernels_take_their_floor():
    step = Step(8, (1e-6, 5e-6, 1e-3), (), 0)
    assert step.compute_seconds() == pytest.approx(1.006e-3)
    found = Scaling(H100, {8: step}, kernel_floor=2e-6).predict(4, 8)
    assert found.fastest == found.slowest == pytest.approx(1.007e-3)


@pytest.mark.parametrize("batch", [0, 257])
def test_nothing_is_extrapolated(batch):
    with pytest.raises(ValueError, match=r"not between those of compiled steps: \[1, 32, 256\]"):
        SCALING.predict(8, batch)
    with pytest.raises(ValueError, match="not between"):
        Scaling(H100, {}).predict(8, 1)


def test_weak_scaling_keeps_the_images_of_a_chip_and_strong_those_of_a_step():
    counts = (1, 3, 8, 1024, 4096)
    assert [(each.chips, each.batch) for each in SCALING.weak(counts, 32)] == [(each, 32) for each in counts]
    # 1,024 images are too many for one chip, cannot be split over 3, and are too few for 4,096.
    assert [(each.chips, each.batch) for each in SCALING.strong(counts, 1024)] == [(8, 128), (1024, 1)]


def test_a_groups_exchange_does_not_grow():
    group = Exchange("all-reduce", 1_000, 8, blocking=True)
    scaling = Scaling(H100, {1: Step(1, (1e-3,), (group,), 0)})
    times = [scaling.predict(chips, 1).blocking_seconds for chips in (2, 8, 64, 4096)]
    assert 0 < times[0] < times[1] == times[2] == times[3]


@given(strategies.sets(strategies.integers(1, 4096), min_size=1), strategies.integers(2, 5))
def test_the_ends_are_compiled_and_no_more_than_asked_for(batches, count):
    found = to_compile(batches, count)
    assert set(found) <= batches
    assert found == tuple(sorted(set(found)))
    assert (found[0], found[-1]) == (min(batches), max(batches))
    assert len(found) <= count
    assert to_compile([1, 2, 4, 8, 16, 32, 64, 128, 256], 3) == (1, 16, 256)


def test_hours_energy_and_price_are_of_all_chips():
    found = cost(1000.0, 3_600_000, 16, watts=1000, price_per_hour=2.5)
    assert dataclasses.astuple(found) == (1.0, 16.0, 40.0)
    assert dataclasses.astuple(cost(1000.0, 3_600_000, 16)) == (1.0, None, None)


def test_each_host_feeds_its_chips():
    assert images_per_host(8000.0, 8, H100) == 8000
    assert images_per_host(8000.0, 64, H100) == 1000
    assert images_per_host(1000.0, 2, H100) == 1000
    assert images_per_host(1000.0, 2, machine("v2")) == 1000  # the chips of its hosts are not known
