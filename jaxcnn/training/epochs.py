"""From times in epochs to numbers of steps, in whole numbers and fractions: floats are a step off now and then."""

import math
from collections.abc import Callable
from fractions import Fraction

_SLACK = Fraction(1, 2**50)
"""The part of itself by which a number may miss a whole one and still be meant as that one. A time in epochs is a
float, often computed (``600_000 * 256 / 1_281_167``), and a few roundings at 53 bits stay below it."""
_HALF = Fraction(1, 2)


def whole_steps(epochs: float, steps_per_epoch: Fraction) -> int:
    """Returns the number of steps that a time takes, the last of which may go beyond it.

    Examples:
        >>> whole_steps(30.0, Fraction(1000, 60))
        500
        >>> whole_steps(0.5, Fraction(1437, 64))
        12

    Args:
        epochs: the time, in epochs.
        steps_per_epoch: the number of training images divided by the batch size.
    """
    return _whole(Fraction(epochs) * steps_per_epoch, math.ceil)


def periods_over(period: Fraction, last_step: int) -> dict[int, int]:
    """Returns, for each step up to the last at which one or more periods have just ended, how many have by then.

    Periods follow one another from step 0, and a step belongs to the period in which its middle lies.

    Examples:
        >>> periods_over(Fraction(5, 2), 8)
        {2: 1, 5: 2, 7: 3}
        >>> periods_over(Fraction(1, 4), 2)
        {0: 2, 1: 6, 2: 10}

    Args:
        period: the length of a period, in steps.
        last_step: the last step that is asked for.
    """
    if period < 1:
        return {step: _whole((step + _HALF) / period, math.floor) for step in range(last_step + 1)}
    ends = (_whole(number * period - _HALF, math.ceil) for number in range(1, math.ceil((last_step + 2) / period)))
    return {end: number for number, end in enumerate(ends, 1) if end <= last_step}


def _whole(number: Fraction, rounded: Callable[[Fraction], int]) -> int:
    """Returns the whole number that is meant, or else the number rounded."""
    nearest = round(number)
    return nearest if abs(number - nearest) <= number * _SLACK else rounded(number)
