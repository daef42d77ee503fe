"""The tables of a report: results, what the configs differ in, all options, and what it was made with."""

import math
import re
from collections.abc import Callable, Mapping, Sequence

from jaxcnn.config import TrainConfig, flatten
from jaxcnn.evaluation.details import wilson_interval
from jaxcnn.pictures.embedded import Markup, joined, tag
from jaxcnn.pictures.report.run import Run
from jaxcnn.types import JsonObject

Rows = Mapping[str, Sequence[str | Markup]]
"""The rows of a table, each with a cell for each run, by their headings."""

NOTHING = "-"
"""What a cell holds where there is nothing to say."""


def key_of(index: int, label: str) -> Markup:
    """Returns a run's name with the colour of its curves."""
    return joined(tag("span", class_=f"key run{index % 8}", aria_hidden="true"), label)


def breakable(name: str) -> Markup:
    """Returns the path of an option, which may go on in another line after a dot or an underscore."""
    pieces = re.findall(r"[^._]*[._]?", name)
    return joined(*(each for piece in pieces if piece for each in (piece, tag("wbr"))))


def scrolling(label: str, *content: str | Markup, tall: bool = False) -> Markup:
    """Returns a part of the page that scrolls by itself, by keys too, where it is wider than the page.

    Args:
        label: what is in it, for those who do not see it.
        content: what is in it.
        tall: whether it has a height of its own, too.
    """
    class_ = "scroll tall" if tall else "scroll"
    return tag("div", *content, class_=class_, tabindex=0, role="group", aria_label=label)


def table(caption: str, runs: Sequence[Run], rows: Rows, *, tall: bool = False) -> Markup:
    """Returns a table with a column for each run."""
    head = tag("tr", tag("td"), *(tag("th", key_of(i, run.label), scope="col") for i, run in enumerate(runs)))
    body = (
        tag("tr", tag("th", breakable(name), scope="row"), *(tag("td", cell) for cell in cells))
        for name, cells in rows.items()
    )
    parts = (tag("caption", caption, class_="unseen"), tag("thead", head), tag("tbody", *body))
    return scrolling(caption, tag("table", *parts, class_="runs"), tall=tall)


def results(runs: Sequence[Run]) -> Markup:
    """Returns the table of what was trained and of how it ended."""
    rows: dict[str, list[str | Markup]] = {}

    def row(name: str, cell: Callable[[Run], str | Markup]) -> None:
        cells = [cell(run) for run in runs]
        if any(each != NOTHING for each in cells):
            rows[name] = cells

    row("state", lambda run: run.state)
    ks = sorted({k for run in runs for k in run.config.evaluation.top_k})
    for prefix, whose in (("", ""), ("ema_", ", average of the parameters")):
        for k in ks:
            row(f"top-{k} error{whose}", lambda run, name=f"{prefix}top{k}_error": _error(run, name))
    first = {run.label: f"top{run.config.evaluation.top_k[0]}_error" for run in runs}
    row("lowest on the way", lambda run: _lowest(run, first[run.label]))
    row("published by others", _published)
    row("network", lambda run: f"{run.config.model.name}, {_count(run, 'parameters')} parameters")
    row("images", lambda run: f"{run.config.data.name}: {_count(run, 'training_images')} to train on")
    row("epochs", lambda run: f"{run.config.epochs:g} of {run.config.data.batch_size} images a step")
    row("time in training steps", lambda run: duration(run.seconds) if run.seconds else NOTHING)
    row("speed, median", lambda run: _typical(run, "images_per_second", 1, " images/s"))
    row("waiting for data, median", lambda run: _typical(run, "data_wait_share", 100, " %"))
    row("bad steps", lambda run: f"{sum(line['bad_steps'] for line in run.of_kind('train')):,}")
    row("images left out", _left_out)
    return table("Results", runs, rows)


def _error(run: Run, name: str) -> str | Markup:
    last = run.last_evaluation
    error = last.get(name) if last else None
    if last is None or error is None or not math.isfinite(error):
        return NOTHING
    low, high = wilson_interval(error, int(last["images"]))
    at = "" if run.finished else f", after step {last['step']:,}"
    detail = f"95 % interval {low:.2f} to {high:.2f}, {int(last['images']):,} images{at}"
    return joined(tag("strong", f"{error:.2f} %"), " ", tag("small", detail))


def _lowest(run: Run, name: str) -> str:
    found = [line for line in run.of_kind("evaluation") if math.isfinite(line.get(name, math.nan))]
    if not found:
        return NOTHING
    best = min(found, key=lambda line: line[name])
    return f"top-{name[3:-6]} error {best[name]:.2f} % after epoch {best['epoch']:.3g}"


def _published(run: Run) -> str:
    published = run.config.published
    return str(published) if published.source else NOTHING


def _count(run: Run, name: str) -> str:
    return f"{run.start[name]:,}" if name in run.start else "?"


def _typical(run: Run, value: str, factor: float, unit: str) -> str:
    typical = run.typical(value)
    return (
        NOTHING if typical is None else f"{factor * typical:,.3g}{unit}" if typical < 100 else f"{typical:,.0f}{unit}"
    )


def _left_out(run: Run) -> str:
    found = [f"{line['count']:,} of {line['split']}" for line in run.of_kind("bad_files")]
    return ", ".join(found) or NOTHING


def duration(seconds: float) -> str:
    """Returns a time in the two largest units that it has.

    Examples:
        >>> duration(3725), duration(59.96), duration(2.5)
        ('1 h 2 min', '1 min 0 s', '2.5 s')
    """
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {whole % 60} s"


def config_rows(runs: Sequence[Run]) -> dict[str, list[str]]:
    """Returns every option of any run, with its value in each; an option that a run does not have is `NOTHING`."""
    flat = [flatten(run.config) for run in runs]
    options = dict.fromkeys(option for each in flat for option in each)
    return {option: [_value(each[option]) if option in each else NOTHING for each in flat] for option in options}


def _value(value: object) -> str:
    if isinstance(value, tuple | list):
        return ", ".join(map(_value, value)) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{name}: {each}" for name, each in value.items()) or "none"
    return "none" if value is None else str(value)


def differences(runs: Sequence[Run]) -> Markup:
    """Returns the table of the options in which runs differ."""
    rows = {option: cells for option, cells in config_rows(runs).items() if len(set(cells)) > 1}
    if not rows:
        return tag("p", "Their configs are the same.")
    return table("Options that differ", runs, rows)


def config(runs: Sequence[Run]) -> Markup:
    """Returns the options: those that are not the defaults, and, folded away, all of them and the recipes."""
    rows = config_rows(runs)
    defaults = {option: _value(value) for option, value in flatten(TrainConfig()).items()}
    changed = {option: cells for option, cells in rows.items() if {defaults.get(option)} != set(cells)}
    folded = [("All options", table("All options", runs, rows, tall=True))]
    folded += [
        (f"The recipe of {run.label}", scrolling(f"The recipe of {run.label}", tag("pre", run.source), tall=True))
        for run in runs
        if run.source
    ]
    parts = [tag("h3", "Options that are not the defaults"), table("Options that are not the defaults", runs, changed)]
    for run in runs:
        parts += [_override(run, each) for each in run.overrides]
    return joined(*parts, *(tag("details", tag("summary", title), what) for title, what in folded))


def _override(run: Run, change: JsonObject) -> Markup:
    changed = (f"{option} is {new!r} and was {old!r}" for option, (old, new) in change["options"].items())
    return tag("p", f"{run.label}, overridden from step {change['step']} on: {'; '.join(changed)}.")


def made_with(runs: Sequence[Run]) -> Markup:
    """Returns the table of machines and versions."""
    rows: dict[str, list[str]] = {
        "processor at the beginning": [run.processor or NOTHING for run in runs],
        "devices": [_devices(run.start) for run in runs],
        "processes": [str(run.start.get("processes", NOTHING)) for run in runs],
        "began, or went on": [_sittings(run) for run in runs],
        "Python": [str(run.start.get("python", NOTHING)) for run in runs],
    }
    versions = [run.start.get("versions", {}) for run in runs]
    for package in dict.fromkeys(name for each in versions for name in each):
        rows[package] = [str(each.get(package, NOTHING)) for each in versions]
    rows["folder"] = [str(run.folder.resolve()) for run in runs]
    return table("Machine and versions", runs, {name: cells for name, cells in rows.items() if set(cells) != {NOTHING}})


def _devices(start: JsonObject) -> str:
    devices = start.get("devices", [])
    counted = {kind: devices.count(kind) for kind in dict.fromkeys(devices)}
    return ", ".join(f"{count} x {kind}" for kind, count in counted.items()) or NOTHING


def _sittings(run: Run) -> str:
    said = []
    for line in run.of_kind("start"):
        at = f" ({line['time']})" if "time" in line else ""
        said.append(f"step {line['step']:,}{at}")
    return ", ".join(said) or NOTHING


def evaluations(runs: Sequence[Run]) -> Markup:
    """Returns all numbers of all evaluations, for those who cannot see curves and those who want the digits."""
    parts = []
    for index, run in enumerate(runs):
        lines = run.of_kind("evaluation")
        names = dict.fromkeys(name for line in lines for name in line if name not in ("kind", "images", "ema_images"))
        head = tag("tr", *(tag("th", _heading(name), scope="col") for name in names))
        body = (tag("tr", *(tag("td", _number(line.get(name))) for name in names)) for line in lines)
        caption = f"Evaluations of {run.label}"
        parts += [
            tag("h4", key_of(index, run.label)),
            scrolling(
                caption,
                tag("table", tag("caption", caption, class_="unseen"), tag("thead", head), tag("tbody", *body)),
                tall=True,
            ),
        ]
    return tag("details", tag("summary", "The numbers of all evaluations"), *parts)


def _heading(name: str) -> str:
    whose = "average: " if name.startswith("ema_") else ""
    plain = name.removeprefix("ema_")
    error = plain.removesuffix("_error")
    return f"{whose}top-{error[3:]} error, %" if error != plain else f"{whose}{plain}"


def _number(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return NOTHING
    return f"{value:,}" if isinstance(value, int) else f"{value:.5g}"
