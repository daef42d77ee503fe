"""A report on how a recipe scales, as lines of text."""

import dataclasses
from collections.abc import Iterator, Sequence

from jaxcnn.laboratory.communication import LINK_SHARE, NETWORK_SHARE
from jaxcnn.laboratory.measured_scaling import Measured
from jaxcnn.laboratory.roofline import COMPUTE_SHARE, MEMORY_SHARE
from jaxcnn.laboratory.scaling import cost, images_per_host
from jaxcnn.laboratory.scaling_report import Against, ScalingReport, Series
from jaxcnn.laboratory.simulated import Simulated
from jaxcnn.text import escaped


@dataclasses.dataclass(frozen=True)
class Prices:
    """What the user says of a chip and of a host; nothing of it has a default."""

    watts: float | None = None
    """The power that a chip draws, with its part of the host."""
    price_per_hour: float | None = None
    """The price of a chip for an hour."""
    input_rate: float | None = None
    """The images a second that a host's input was measured to deliver."""


def report_lines(report: ScalingReport, prices: Prices) -> Iterator[str]:
    """Yields what is predicted, and which ceilings it rests on."""
    config, machine = report.config, report.chips.machine
    yield (
        f"{config.name}: {config.model.name} in {config.model.dtype} on chips of {machine.title}: predictions from "
        "published ceilings, and no measurements"
    )
    yield (
        f"computation: the compiled kernels at {MEMORY_SHARE:.0%} of {machine.memory_bytes_per_s / 1e9:,.0f} GB/s or "
        f"{COMPUTE_SHARE:.0%} of {machine.flops_of(config.model.dtype) / 1e12:,.0f} TFLOP/s; communication: the "
        f"compiled collectives at {LINK_SHARE:.0%} of the links and {NETWORK_SHARE:.0%} of the network; ranges are "
        "without and with all overlap"
    )
    if report.kernel_floor:
        yield f"a kernel takes {1e6 * report.kernel_floor:g} us at least, as was asked for"
    for variant, steps in report.steps.items():
        for batch, step in sorted(steps.items()):
            waited = [each for each in step.exchanges if each.blocking]
            sizes = [sum(each.bytes for each in some) / 1e6 for some in (step.exchanges, waited)]
            yield (
                f"compiled for {batch:,} images on each chip of {report.chips.name}, {variant}: "
                f"{1e3 * step.compute_seconds(report.kernel_floor):.2f} ms of computation in "
                f"{len(step.kernel_seconds):,} kernels, {len(step.exchanges)} collectives of "
                f"{sizes[0]:,.2f} MB, of which the forward pass waits for {len(waited)} of {sizes[1]:,.2f} MB; "
                f"{step.memory_bytes / 1e9:.1f} GB of memory"
            )
    for sentence in report.refused:
        yield f"left out: {sentence}"
    for series in report.series:
        yield ""
        yield f"{series}:"
        yield from _aligned(_series_rows(series, report, prices))
    if report.against:
        yield ""
        yield "published runs, none of them ours, and the error of what is predicted for as many chips and images:"
        yield from _aligned(_published_rows(report.against))


def simulated_lines(steps: Sequence[Simulated], weak: bool) -> Iterator[str]:
    """Yields what was measured on simulated devices, and the error of what was predicted."""
    kind = "as many images on each" if weak else "as many images in all"
    yield (
        f"simulated devices, which share this machine's cores, {kind}: the step is measured; the prediction takes one "
        "device's step and the latency of a small collective from measurements, and the rest from the programs"
    )
    rows = [("devices", "images on each", "MB exchanged", "measured ms", "predicted ms", "error")]
    for each in steps:
        numbers = (each.devices, each.batch, each.exchanged_bytes / 1e6, 1e3 * each.seconds)
        devices, batch, exchanged, measured = numbers
        error = "given" if each.devices == 1 else f"{each.error:+.0%}"
        rows.append(
            (
                f"{devices}",
                f"{batch:,}",
                f"{exchanged:,.2f}",
                f"{measured:,.1f}",
                f"{1e3 * each.predicted_seconds:,.1f}",
                error,
            )
        )
    yield from _aligned(rows)


def measured_lines(steps: Sequence[Measured], weak: bool) -> Iterator[str]:
    """Yields what was measured on the devices that there are, and the errors of what was predicted."""
    kind = "as many images on each" if weak else "as many images in all"
    yield f"devices that there are, {kind}: the step is measured; the prediction is from published ceilings"
    rows = [("devices", "images on each", "measured ms", "images/s", "predicted ms", "error")]
    for each in steps:
        predicted = ("no figures of this device", "")
        if each.predicted is not None and each.errors is not None:
            bounds = 1e3 * each.predicted.fastest, 1e3 * each.predicted.slowest
            predicted = (_range(*bounds, "{:,.2f}"), _range(*each.errors, "{:+.0%}"))
        rate = each.devices * each.batch / each.seconds
        rows.append((f"{each.devices}", f"{each.batch:,}", f"{1e3 * each.seconds:,.2f}", f"{rate:,.0f}", *predicted))
    yield from _aligned(rows)


def _series_rows(series: Series, report: ScalingReport, prices: Prices) -> list[tuple[str, ...]]:
    head = ["chips", "images/s", "efficiency", "compute ms", "waited ms", "exchanged ms", "hours"]
    head += ["kWh"] if prices.watts is not None else []
    head += ["price"] if prices.price_per_hour is not None else []
    head += ["images/s a host"] + (["of the measured input"] if prices.input_rate is not None else [])
    rows = [tuple(head)]
    for each in series.predictions:
        costs = [
            cost(rate, report.images, each.chips, watts=prices.watts, price_per_hour=prices.price_per_hour)
            for rate in each.rates
        ]
        hosts = [images_per_host(rate, each.chips, report.chips.machine) for rate in each.rates]
        row = [
            f"{each.chips:,}",
            _range(*each.rates, "{:,.0f}"),
            _range(*series.efficiency(each), "{:.0%}"),
            f"{1e3 * each.compute_seconds:.2f}" + ("*" if each.interpolated else ""),
            f"{1e3 * each.blocking_seconds:.2f}",
            f"{1e3 * each.exchange_seconds:.2f}",
            _range(*(found.hours for found in costs), "{:,.3g}"),
        ]
        for amounts in ([found.kilowatt_hours for found in costs], [found.price for found in costs]):
            known = [amount for amount in amounts if amount is not None]
            row += [_range(*known, "{:,.4g}")] if known else []
        row.append(_range(*hosts, "{:,.0f}"))
        if prices.input_rate is not None:
            row.append(_range(*(rate / prices.input_rate for rate in hosts), "{:,.2f}"))
        rows.append(tuple(row))
    return rows


def _published_rows(against: Sequence[Against]) -> list[tuple[str, ...]]:
    head = ("series", "date", "chips", "images on each", "published images/s", "predicted", "error")
    rows = [(*head, "from the series' first run", "error")]
    for each in against:
        run = each.run
        anchored = ("", "") if each.anchored is None else (_range(*each.anchored, "{:,.0f}"),)
        if each.anchored_errors is not None:
            anchored = (*anchored, _range(*each.anchored_errors, "{:+.0%}"))
        rows.append(
            (
                escaped(run.series),
                run.date,
                f"{run.chips:,}",
                f"{run.batch_per_chip:,}",
                f"{run.images_per_second:,.0f}",
                _range(*each.prediction.rates, "{:,.0f}"),
                _range(*each.errors, "{:+.0%}"),
                *anchored,
            )
        )
    return rows


def _range(low: float, high: float, form: str) -> str:
    """Returns two numbers as a range, or as one where they are written alike."""
    first, last = form.format(low), form.format(high)
    return first if first == last else f"{first} to {last}"


def _aligned(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  " + "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
