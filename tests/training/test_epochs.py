import math
from fractions import Fraction

import pytest

from jaxcnn.training.epochs import periods_over, whole_steps


@pytest.mark.parametrize(
    ("epochs", "images", "batch_size", "steps"),
    [
        (30.0, 1000, 60, 500),  # 30 * (1000 / 60) is a little more than 500
        (0.1, 1000, 10, 10),  # so is 0.1, but not 1000 / 10
        (2.3, 1000, 100, 23),
        (7 / 3, 90, 30, 7),
        (600_000 * 256 / 1_281_167, 1_281_167, 256, 600_000),
        (250_000 / (1_281_167 / 1600), 1_281_167, 1600, 250_000),
        (2.0, 1437, 64, 45),
        (30.000001, 1000, 60, 501),
        (1e-9, 1000, 60, 1),
        (0.0, 1000, 60, 0),
    ],
)
def test_a_time_takes_so_many_steps(epochs, images, batch_size, steps):
    assert whole_steps(epochs, Fraction(images, batch_size)) == steps


def test_whole_epochs_and_tenths_take_the_steps_of_integer_arithmetic():
    for images in (7, 1000, 1437, 50_000, 1_281_167):
        for batch_size in (1, 3, 7, 60, 96, 256, 1024):
            for tenths in (1, 3, 7, 10, 23, 24, 50, 300, 899, 6000):
                expected = -(-tenths * images // (10 * batch_size))
                assert whole_steps(tenths / 10, Fraction(images, batch_size)) == expected


@pytest.mark.parametrize(
    ("period", "last"), [(Fraction(50, 3), 500), (Fraction(5, 2), 100), (Fraction(1), 20), (Fraction(2, 7), 20)]
)
def test_a_step_belongs_to_the_period_in_which_its_middle_lies(period, last):
    found, number = periods_over(period, last), 0
    assert list(found) == sorted(found)
    assert max(found) <= last
    for step in range(last + 1):
        number = found.get(step, number)
        assert number == math.floor((step + Fraction(1, 2)) / period), step
