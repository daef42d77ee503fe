"""Steps on the devices that there are, here simulated ones, measured and predicted."""

from pathlib import Path

import pytest

from jaxcnn.devices.machines import machine
from jaxcnn.laboratory.measured_scaling import measure, powers_of_two
from jaxcnn.recipes import load_config

TINY = Path(__file__).parent.parent / "recipes" / "tiny.py"


def test_powers_of_two_end_at_the_devices():
    assert [powers_of_two(count) for count in (1, 2, 3, 8, 9)] == [[1], [1, 2], [1, 2], [1, 2, 4, 8], [1, 2, 4, 8]]


@pytest.mark.slow
def test_a_measured_step_stands_beside_its_prediction():
    found = measure(load_config(TINY), [1, 2], machine("h100"), weak=False)
    assert [(each.devices, each.batch) for each in found] == [(1, 64), (2, 32)]
    for each in found:
        predicted = each.predicted
        assert (predicted.chips, predicted.batch) == (each.devices, each.batch)
        assert each.errors == (predicted.fastest / each.seconds - 1, predicted.slowest / each.seconds - 1)
        # An H100 would be faster than this processor.
        assert 0 < predicted.fastest <= predicted.slowest < each.seconds
    assert found[0].predicted.exchange_seconds == 0 < found[1].predicted.exchange_seconds
    assert found[1].to_json()["predicted"]["chips"] == 2
