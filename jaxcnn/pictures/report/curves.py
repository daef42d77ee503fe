"""The curves of a report: which there are, and their points."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from jaxcnn.pictures.report.run import Run, seconds_of
from jaxcnn.types import JsonObject

MOST_POINTS = 1500
"""The most points of a curve. Where the log has more lines, neighbours are averaged, weighted by their images."""


class Line(NamedTuple):
    """One curve of each run in a chart."""

    kind: str
    """The kind of the log's lines: ``train`` or ``evaluation``."""
    value: str
    """The value in these lines."""
    name: str
    style: str
    """How it is drawn: ``thin``, ``thick`` or ``dashed``."""
    smooth: bool = False
    """Whether the reader may have it smoothed."""


class Chart(NamedTuple):
    """One chart of a report."""

    name: str
    """Its name in addresses."""
    title: str
    unit: str
    """What follows a number of it."""
    logarithmic: bool
    """Whether its vertical axis may be logarithmic."""
    lines: tuple[Line, ...]
    factor: float = 1.0
    """What its numbers are multiplied with."""


def _measured(title: str, name: str, value: str, unit: str, trained: str | None) -> Chart:
    """Returns the chart of a value that is measured in training, on the evaluation images and for the average."""
    lines = [Line("train", trained, "training", "thin", smooth=True)] if trained else []
    lines.append(Line("evaluation", value, "evaluation", "thick"))
    lines.append(Line("evaluation", f"ema_{value}", "evaluation of the average", "dashed"))
    return Chart(name, title, unit, True, tuple(lines))


def charts_of(runs: Sequence[Run]) -> list[Chart]:
    """Returns the charts that runs have points for; each has only those lines that some run has."""
    ks = sorted({k for run in runs for k in run.config.evaluation.top_k})
    possible = [
        _measured("Loss", "loss", "loss", "", "loss"),
        *(_measured(f"Top-{k} error", f"top{k}", f"top{k}_error", " %", "top1_error" if k == 1 else None) for k in ks),
        Chart("rate", "Learning rate", "", False, (Line("train", "learning_rate", "learning rate", "thick"),)),
        Chart(
            "speed",
            "Speed",
            " images/s",
            False,
            (Line("train", "images_per_second", "training", "thick", smooth=True),),
        ),
        Chart(
            *("wait", "Waiting for data", " % of the time", False),
            (Line("train", "data_wait_share", "training", "thick", smooth=True),),
            100,
        ),
        Chart("bad", "Bad steps, which were undone", "", False, (Line("train", "bad_steps", "training", "thick"),)),
    ]
    charts = []
    for chart in possible:
        lines = tuple(line for line in chart.lines if any(_has(run, line) for run in runs))
        if lines:
            charts.append(chart._replace(lines=lines))
    return charts


def _has(run: Run, line: Line) -> bool:
    values = (each.get(line.value) for each in run.of_kind(line.kind))
    if line.value == "bad_steps":
        return any(values)  # a chart of zeros says less than a sentence
    return any(value is not None and math.isfinite(value) for value in values)


def points_of(run: Run) -> JsonObject:
    """Returns the points of a run's curves: for both kinds of lines, the list of each value, and of three abscissas.

    The abscissas are ``epoch``, ``step`` and ``hours``, the time that the training steps up to there took.
    """
    training, seconds = [], 0.0
    for line in run.of_kind("train"):
        seconds += seconds_of(line)
        training.append({**line, "hours": seconds / 3600})
    evaluations, passed = [], 0
    for line in run.of_kind("evaluation"):
        while passed < len(training) and training[passed]["step"] <= line["step"]:
            passed += 1
        evaluations.append({**line, "hours": training[passed - 1]["hours"] if passed else 0.0})
    return {"train": _columns(thinned(training)), "evaluation": _columns(evaluations)}


def thinned(lines: Sequence[JsonObject], most: int = MOST_POINTS) -> list[JsonObject]:
    """Returns lines of training, of which so many neighbours are averaged that no more than `most` are left.

    Means are weighted by the images that they are of; counts are added; what a line is at is that of the last one.
    """
    size = max(1, math.ceil(len(lines) / most))
    if size == 1:
        return list(lines)
    joined = []
    for start in range(0, len(lines), size):
        group = lines[start : start + size]
        images = sum(line["images"] for line in group)
        time = math.fsum(map(seconds_of, group))
        last = {**group[-1], "images": images, "bad_steps": sum(line["bad_steps"] for line in group)}
        for value in ("loss", "top1_error"):
            last[value] = math.fsum(line[value] * line["images"] for line in group if line["images"]) / (
                images or math.nan
            )
        if time:
            last["images_per_second"] = images / time
            last["data_wait_share"] = math.fsum(line["data_wait_share"] * seconds_of(line) for line in group) / time
        joined.append(last)
    return joined


def _columns(lines: Sequence[JsonObject]) -> JsonObject:
    names = dict.fromkeys(name for line in lines for name in line if name != "kind")
    return {name: [_short(line.get(name)) for line in lines] for name in names}


def _short(value: float | None) -> float | None:
    """Returns a number with as many digits as a picture and its reader can use."""
    return float(f"{value:.6g}") if isinstance(value, float) and math.isfinite(value) else value
