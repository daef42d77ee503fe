"""The page of a report: its parts joined, with its script."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from jaxcnn.errors import writing
from jaxcnn.paths import replace_whole
from jaxcnn.pictures.embedded import Markup, joined, script_data, tag
from jaxcnn.pictures.frame import Part, framed, packaged
from jaxcnn.pictures.report import answers, tables
from jaxcnn.pictures.report.curves import Chart, charts_of, points_of
from jaxcnn.pictures.report.run import Run, read_runs
from jaxcnn.pictures.report.seen import Seen, look
from jaxcnn.types import JsonObject

Content = TypeVar("Content")
REPORT_FILE = "report.html"
"""The file of a run folder that holds its report."""
REFRESH_SECONDS = 5
"""The time after which a page that is watched asks for a newer one."""


def write_report(folders: Sequence[str | Path], path: Path | None = None, *, measure: bool = True) -> Path:
    """Writes the report of runs as one page of HTML that holds everything it shows.

    Args:
        folders: the run folders.
        path: the file; by default ``report.html`` in the folder of the one run, or in the working directory where there
            are several.
        measure: whether to ask the network about the evaluation images, where its answers are not kept yet, and to look
            at its filters; else the page holds what the folders say.

    Returns:
        The file.

    Raises:
        UserError: as `read_runs`; or the file cannot be written.
        MachineError: the disk is full, or fails.
    """
    runs = read_runs(folders)
    if path is None:
        path = runs[0].folder / REPORT_FILE if len(runs) == 1 else Path(REPORT_FILE)
    seen = [look(run) if measure else Seen() for run in runs]
    text = page(runs, seen)
    with writing(path, "choose another --out"):
        replace_whole(path, text)
    return path


def page(runs: Sequence[Run], seen: Sequence[Seen], *, watched: bool = False) -> str:
    """Returns the page.

    Args:
        runs: the runs.
        seen: what was found of the images and the network of each.
        watched: whether it asks its server for newer pages.
    """
    charts = charts_of(runs)
    parts = _parts(runs, seen, charts)
    name = runs[0].label if len(runs) == 1 else f"{len(runs)} runs"
    data = script_data("report-data", _data(runs, seen, charts) | {"refresh": REFRESH_SECONDS if watched else 0})
    return framed(name, "jaxcnn report", parts, script=packaged("report/report.js"), data=data, asks=watched)


def _parts(runs: Sequence[Run], seen: Sequence[Seen], charts: Sequence[Chart]) -> list[Part]:
    """Returns the parts of the page: the name, the title and the content of each."""

    def each(part: str, get: Callable[[Seen], Content | None], draw: Callable[[Content, str], Markup]) -> Markup:
        found: list[Markup] = []
        for index, (run, what) in enumerate(zip(runs, seen, strict=True)):
            if len(runs) > 1:
                found.append(tag("h3", tables.key_of(index, run.label)))
            content = get(what)
            if content is None:
                missing = what.reasons.get(part, "This was not looked at: `jaxcnn report` with this run does.")
                found.append(tag("p", missing, class_="missing"))
            else:
                found += [_of_which(run, what) if part != "samples" else Markup(), draw(content, str(index))]
        return joined(*found)

    parts = [
        ("results", "Results", tables.results(runs)),
        ("curves", "Curves", _curves(runs, charts)),
        (
            *("classes", "Errors of the classes"),
            each("details", lambda what: what.details, lambda found, _: answers.classes(found)),
        ),
        ("confusion", "Confusion matrix", each("details", lambda what: what.details, answers.confusion)),
        (
            *("mistakes", "Most confident mistakes"),
            each("mistakes", lambda what: what.mistakes, lambda found, _: answers.mistakes(found)),
        ),
        (
            *("filters", "Filters of the first layer"),
            each("filters", lambda what: what.filters, lambda found, _: answers.filters(found)),
        ),
        (
            *("samples", "What the network saw"),
            each("samples", lambda what: what.samples, lambda found, _: answers.samples(found)),
        ),
        ("config", "Config", tables.config(runs)),
        ("made-with", "Machine and versions", tables.made_with(runs)),
    ]
    if len(runs) > 1:
        parts.insert(0, ("differences", "What the configs differ in", tables.differences(runs)))
    return parts


def _of_which(run: Run, seen: Seen) -> Markup:
    """Returns a sentence on the weights where they are not simply those at the end."""
    said = []
    if not run.finished and seen.step is not None:
        said.append(f"after step {seen.step:,}")
    if seen.weights_of == "ema":
        said.append("of the average of the parameters")
    return tag("p", f"This is {', '.join(said)}.", class_="note") if said else Markup()


def _curves(runs: Sequence[Run], charts: Sequence[Chart]) -> Markup:
    if not charts:
        return tag("p", "Nothing is logged yet.", class_="missing")
    figures = [
        tag(
            "figure",
            tag("figcaption", tag("h3", _heading(chart)), *_legend(chart)),
            tag("div", class_="plot", tabindex=0, role="img", aria_label=_described(chart)),
            tag("p", class_="readout", role="status"),
            data_chart=chart.name,
            class_="chart",
        )
        for chart in charts
    ]
    noscript = tag("noscript", tag("p", "A script draws the curves, and scripts are off; the numbers are below."))
    calm = tag("p", "No step was bad.") if all(chart.name != "bad" for chart in charts) else Markup()
    parts = (_controls(runs), noscript, tag("div", *figures, class_="charts"), calm, tables.evaluations(runs))
    return joined(*parts)


def _heading(chart: Chart) -> str:
    return f"{chart.title},{chart.unit}" if chart.unit else chart.title


def _described(chart: Chart) -> str:
    lines = ", ".join(line.name for line in chart.lines)
    return f"{chart.title}: curves of {lines}. The left and right arrow keys read the values."


def _legend(chart: Chart) -> list[Markup]:
    """Returns the kinds of lines, where there are several."""
    if len(chart.lines) == 1:
        return []
    return [
        tag(
            "span",
            tag("svg", tag("path", d="M0 5H28", class_=f"line {line.style}"), viewBox="0 0 28 10", aria_hidden="true"),
            line.name,
            class_="legend",
        )
        for line in chart.lines
    ]


def _controls(runs: Sequence[Run]) -> Markup:
    def choice(kind: str, name: str, value: str, label: str | Markup, checked: bool) -> Markup:
        entry = tag("input", type=kind, name=name, value=value, checked=checked)
        return tag("label", entry, " ", label)

    axes = (("epoch", "epochs"), ("step", "steps"), ("hours", "hours of training"))
    parts = [
        tag(
            "fieldset",
            tag("legend", "Along"),
            *(choice("radio", "axis", value, label, value == "epoch") for value, label in axes),
        ),
        choice("checkbox", "log", "log", "losses and errors on a logarithmic axis", True),
        tag(
            "label",
            *("Smoothing ", tag("input", type="range", name="smoothing", min=0, max=0.98, step=0.02, value=0), " "),
            tag("output", "0", name="smoothed"),
        ),
    ]
    if len(runs) > 1:
        shown = [choice("checkbox", "run", str(i), tables.key_of(i, run.label), True) for i, run in enumerate(runs)]
        parts.append(tag("fieldset", tag("legend", "Runs"), *shown))
    return tag("form", *parts, class_="controls", id="controls", aria_label="How the curves are drawn")


def _data(runs: Sequence[Run], seen: Sequence[Seen], charts: Sequence[Chart]) -> JsonObject:
    """Returns what the page's script needs."""
    return {
        "runs": [{"label": run.label, **points_of(run)} for run in runs],
        "charts": [{**chart._asdict(), "lines": [line._asdict() for line in chart.lines]} for chart in charts],
        "confused": {
            str(index): {
                "names": [each.name for each in what.details.classes],
                "images": [each.images for each in what.details.classes],
                "pairs": answers.mistakes_of(what.details.confusion),
            }
            for index, what in enumerate(seen)
            if what.details is not None and len(what.details.classes) > answers.MOST_IN_FULL
        },
    }
