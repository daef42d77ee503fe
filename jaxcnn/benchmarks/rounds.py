"""What contenders that took turns were timed at, and the ratios that this allows."""

import dataclasses
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Generic, TypeVar

Name = TypeVar("Name")

SPREAD = 1.15
"""The spread above which a ratio says too little, where nothing else is asked for."""
_FEWEST = 3
"""The number of rounds of which a spread can be told."""


@dataclasses.dataclass(frozen=True)
class Ratio:
    """How many times as much one contender takes, or does, as another."""

    value: float
    """The median of the ratios of the single rounds."""
    spread: float
    """The third quartile of these ratios as a multiple of the first; infinite where there are fewer than three."""

    def text(self, limit: float, form: str = "{:.2f}") -> str:
        """Returns the ratio as it is printed, or a sentence where the rounds differ too much to tell it.

        Args:
            limit: the largest spread of a ratio that is printed.
            form: how the ratio is printed.
        """
        if self.spread > limit:
            return f"spread {self.spread:.2f}: not comparable, run again"
        return form.format(self.value)


class Rounds(Mapping[Name, float], Generic[Name]):
    """What each contender took in each round; as a mapping, its median by contender.

    The contenders take their turns in every round one after another. So what slows the machine for a while slows all
    contenders of a round, and the ratios of the single rounds differ less than the times do.

    Args:
        values: what each contender took, or did, in each round; a contender may have stopped earlier than others.
    """

    def __init__(self, values: Mapping[Name, Sequence[float]]) -> None:
        self.values_of = {name: tuple(each) for name, each in values.items()}

    def __getitem__(self, name: Name) -> float:
        return statistics.median(self.values_of[name])

    def __iter__(self) -> Iterator[Name]:
        return iter(self.values_of)

    def __len__(self) -> int:
        return len(self.values_of)

    def map(self, function: Callable[[float], float]) -> "Rounds[Name]":
        """Returns the rounds in another unit."""
        return Rounds({name: [function(value) for value in values] for name, values in self.values_of.items()})

    def ratio(self, first: Name, second: Name) -> Ratio:
        """Returns how many times as much the first contender takes, or does, as the second."""
        pairs = zip(self.values_of[first], self.values_of[second], strict=False)
        ratios = [one / other for one, other in pairs]
        spread = float("inf")
        if len(ratios) >= _FEWEST:
            low, _, high = statistics.quantiles(ratios, n=4, method="inclusive")
            spread = high / low
        return Ratio(statistics.median(ratios), spread)
