"""A plot of a study of transfer: accuracy against the number of training images of a class."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from jaxcnn.config.study import Method
from jaxcnn.pictures.pyplot import import_pyplot

TITLES: Mapping[Method, str] = {
    "scratch": "trained from scratch",
    "finetuned": "fine-tuned",
    "svm": "features, linear SVM",
    "softmax": "features, softmax",
    "knn": "features, 5 nearest neighbours",
}
_MARKERS: Mapping[Method, str] = {"scratch": "s", "finetuned": "D", "svm": "o", "softmax": "^", "knn": "v"}


class Results(Protocol):
    """The results that are drawn, as `jaxcnn.transfer.study.Summary` has them."""

    @property
    def methods(self) -> Sequence[Method]:
        """The methods that have results."""

    @property
    def accuracies(self) -> Mapping[tuple[Method, int], Mapping[int, float]]:
        """The accuracy in percent, by split, for each method and number of images."""

    def mean(self, method: Method, per_class: int) -> float:
        """Returns the mean accuracy over the splits."""

    def deviation(self, method: Method, per_class: int) -> float | None:
        """Returns its deviation over the splits."""


def plot_study(results: Results, path: Path) -> None:
    """Draws the mean accuracy of each method, with the standard deviation over the splits as bars.

    Args:
        results: the results.
        path: the picture's file.

    Raises:
        UserError: matplotlib is not installed.
    """
    pyplot = import_pyplot()
    figure, axis = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    sizes = sorted({size for _, size in results.accuracies})
    for number, method in enumerate(results.methods):
        own = [size for size in sizes if (method, size) in results.accuracies]
        means = [results.mean(method, size) for size in own]
        bars = [results.deviation(method, size) or 0.0 for size in own]
        # Each method a little to the side of the others, so that bars do not hide one another.
        places = [size * 1.02 ** (number - (len(results.methods) - 1) / 2) for size in own]
        axis.errorbar(places, means, bars, label=TITLES[method], marker=_MARKERS[method], capsize=3, linewidth=1.5)
    axis.set_xscale("log")
    axis.set_xticks(sizes, map(str, sizes))
    axis.minorticks_off()
    axis.set(xlabel="training images of a class", ylabel="accuracy in %", ylim=(0, 100))
    axis.grid(alpha=0.3)
    axis.legend()
    figure.savefig(path, dpi=150)
    pyplot.close(figure)
