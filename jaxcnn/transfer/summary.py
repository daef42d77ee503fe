"""The results of a study of transfer: means, deviations and margins over its splits."""

import dataclasses
import statistics
from collections.abc import Mapping

from jaxcnn.config.study import Method, StudyConfig
from jaxcnn.types import JsonObject


@dataclasses.dataclass(frozen=True)
class Summary:
    """The results of a study."""

    accuracies: Mapping[tuple[Method, int], Mapping[int, float]]
    """The share of right answers in percent, by split, for each method and number of training images of a class."""

    def mean(self, method: Method, per_class: int) -> float:
        """Returns the mean accuracy over the splits, in percent."""
        return statistics.fmean(self.accuracies[method, per_class].values())

    def deviation(self, method: Method, per_class: int) -> float | None:
        """Returns the standard deviation of the accuracy over the splits, in percent; None for one split."""
        return _deviation(list(self.accuracies[method, per_class].values()))

    def margin(self, method: Method, other: Method, per_class: int) -> tuple[float, float | None] | None:
        """Returns how much more accurate a method is than another on the same splits: the mean and the deviation.

        None where they have no split in common.
        """
        ours, theirs = self.accuracies.get((method, per_class), {}), self.accuracies.get((other, per_class), {})
        both = sorted(ours.keys() & theirs.keys())
        differences = [ours[split] - theirs[split] for split in both]
        return (statistics.fmean(differences), _deviation(differences)) if both else None

    @property
    def methods(self) -> list[Method]:
        """The methods that have results, in the order of `StudyConfig`'s."""
        return [each for each in StudyConfig.methods if any(method == each for method, _ in self.accuracies)]

    @property
    def sizes(self) -> list[int]:
        """The numbers of training images of a class for which there are results, ascending."""
        return sorted({size for _, size in self.accuracies})

    def to_json(self) -> JsonObject:
        """Returns all results, their means, deviations and margins, as an object of JSON."""
        rows = [
            {
                "method": method,
                "images_per_class": size,
                "accuracies": {str(split): value for split, value in sorted(found.items())},
                "mean": self.mean(method, size),
                "deviation": self.deviation(method, size),
            }
            for (method, size), found in sorted(self.accuracies.items())
        ]
        margins = [
            {"method": one, "over": other, "images_per_class": size, "mean": found[0], "deviation": found[1]}
            for size in self.sizes
            for one in self.methods
            for other in self.methods
            if one != other and (found := self.margin(one, other, size))
        ]
        return {"unit": "share of right answers in %; deviation over splits", "results": rows, "margins": margins}

    def __str__(self) -> str:
        width = max(map(len, self.methods), default=0)
        lines = [" " * width + "".join(f"{f'{size} a class':>18}" for size in self.sizes)]
        for method in self.methods:
            cells = (
                _in_words(self.mean(method, size), self.deviation(method, size))
                if (method, size) in self.accuracies
                else ""
                for size in self.sizes
            )
            lines.append(f"{method:{width}}" + "".join(f"{cell:>18}" for cell in cells))
        lines.append("accuracy in %, mean and standard deviation over splits")
        return "\n".join(lines)


def _in_words(mean: float, deviation: float | None) -> str:
    return f"{mean:.1f}" if deviation is None else f"{mean:.1f} +- {deviation:.1f}"


def _deviation(values: list[float]) -> float | None:
    return statistics.stdev(values) if len(values) > 1 else None
