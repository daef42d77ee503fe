"""The benchmarks of parts of a training step or of detection: convolutions, layers, input, augmentation, proposals."""

import statistics
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import tyro

from jaxcnn.benchmarks.augment import time_augmentations, usual_lists
from jaxcnn.benchmarks.convolutions import Timing, dearest_shapes, time_convolution
from jaxcnn.benchmarks.input import CONTENDERS, ThreadCost, make_corpus, time_input, time_processes, time_threads
from jaxcnn.benchmarks.layers import time_layers
from jaxcnn.benchmarks.networks import ELEVEN, untrained
from jaxcnn.benchmarks.proposals import photograph, time_proposals
from jaxcnn.benchmarks.rounds import SPREAD
from jaxcnn.benchmarks.tuning import fixed_set
from jaxcnn.benchmarks.windows import compare_windows
from jaxcnn.config.proposals import ProposalsConfig
from jaxcnn.data.decode import with_channels
from jaxcnn.detection.warp import CONTEXT
from jaxcnn.devices.memory import keep_freed_memory
from jaxcnn.laboratory.published import published_runs
from jaxcnn.ops.conv_shape import ConvShape
from jaxcnn.pictures.lowerings import plot_timings
from jaxcnn.pictures.pyplot import import_pyplot


def conv(
    models: tyro.conf.Positional[tuple[str, ...]] = (),
    *,
    batch: int = 16,
    size: int | None = None,
    dtype: Literal["float32", "bfloat16"] = "float32",
    count: int = 12,
    rounds: int = 25,
    plot: Path | None = None,
    spread: float = SPREAD,
) -> None:
    """Prints the milliseconds and GFLOP/s of each lowering of a network's most expensive distinct convolutions.

    Args:
        models: the names of networks; by default the fixed set of `jaxcnn tune` and eleven networks.
        batch: the number of images in a batch.
        size: the height and width of the input in pixels; by default each network's own.
        dtype: the data type of the computation, for networks.
        count: the number of convolutions of a network, those first that take most of its time by an estimate.
        rounds: the turns that each takes; medians are printed.
        plot: a PNG file to draw the table to.
        spread: the largest spread of a ratio that is printed.
    """
    if plot:
        import_pyplot()  # it is missed before minutes of timing, and not after them
    keep_freed_memory()
    timings = []
    if not models:
        print("the fixed set of `jaxcnn tune`, float32: milliseconds (GFLOP/s) of each lowering; * is what auto takes")
        timings += _convolutions([(shape, 1) for shape in fixed_set()], rounds, spread)
    for model in models or ELEVEN:
        print(f"{model}, batch {batch}, {dtype}: milliseconds (GFLOP/s) of each lowering; * is what auto takes")
        timings += _convolutions(dearest_shapes(model, batch, size, dtype, count=count), rounds, spread)
    if plot:
        plot_timings(timings, plot)


def _convolutions(shapes: list[tuple[ConvShape, int]], rounds: int, spread: float) -> list[Timing]:
    """Prints the lowerings of convolutions, each with how often it occurs, and how near auto comes to the best."""
    timings: list[Timing] = []
    for shape, occurrences in shapes:
        print(
            f"{occurrences}x {shape.kernel[0]}x{shape.kernel[1]}/{shape.strides[0]}  "
            f"{shape.images[1]}x{shape.images[2]}  {shape.images[3]}->{shape.kernel[3]}"
            + (f"  {shape.groups} groups" if shape.groups > 1 else "")
        )
        for row in time_convolution(shape, rounds=rounds):
            cells = [
                f"{name}{'*' if name == row.chosen else ''} {_milliseconds(seconds)} ({row.gigaflops(name):.0f})"
                for name, seconds in sorted(row.seconds.items(), key=lambda item: item[1])
            ]
            print(f"    {row.direction.replace('_', ' '):16} {row.comparison.text(spread):>5}  {'  '.join(cells)}")
            timings.append(row)
    ratios = [row.ratio for row in timings if row.comparison.spread <= spread]
    left = f"; {len(timings) - len(ratios)} that are not comparable are left out" if len(ratios) < len(timings) else ""
    if ratios:
        print(
            f"auto takes at most {max(ratios):.2f} times as long as the best lowering for a shape and direction, and "
            f"{statistics.geometric_mean(ratios):.3f} times in the geometric mean of {len(ratios)}{left}\n"
        )
    return timings


def _milliseconds(seconds: float) -> str:
    """Returns milliseconds as they are printed."""
    return f"{1e3 * seconds:.{1 if seconds >= 1e-3 else 3}f}"


def layers(*, batch: int = 16, rounds: int = 9, spread: float = SPREAD) -> None:
    """Prints the milliseconds of pooling and normalization, forward and with gradients, beside flax.linen's.

    Args:
        batch: the number of images in a batch.
        rounds: the turns that each takes; medians are printed.
        spread: the largest spread of a ratio that is printed.
    """
    keep_freed_memory()
    for row in time_layers(batch=batch, rounds=rounds):
        print(
            f"{row.name:45} {row.direction:14} {1e3 * row.seconds['ours']:7.1f}  plain "
            f"{1e3 * row.seconds['plain']:7.1f}  ratio {row.seconds.ratio('plain', 'ours').text(spread, '{:6.2f}')}"
        )


def input(
    *,
    against: tuple[str, ...] = tuple(name for name in CONTENDERS if name != "jaxcnn"),
    threads: tuple[int, ...] = (),
    processes: tuple[int, ...] = (),
    images: int = 512,
    rounds: int = 5,
    batches: int = 16,
    spread: float = SPREAD,
) -> None:
    """Prints the images a second of the input stream, from artificial JPEG files of about 60 kB, 500x375.

    With --threads, it also prints what each number of threads delivers and costs, and how many cores would feed the
    published training runs on eight chips. With --processes, it prints what each number of processes that decode and
    cut delivers (data.processes), and what they cost the process that feeds them.

    Args:
        against: the contenders, out of jaxcnn_processes, jaxcnn_device, jaxcnn_augmented, jaxcnn_packed,
            jaxcnn_packed_device, tf_data, tf_data_accurate, dataloader, dataloader_uint8.
        threads: numbers of threads, such as 1 2 4.
        processes: numbers of processes, such as 4 8 16.
        images: the number of images that are made.
        rounds: the turns that each takes; medians are printed.
        batches: the batches of 64 images in a turn.
        spread: the largest spread of a ratio that is printed.
    """
    with tempfile.TemporaryDirectory() as folder:
        corpus = make_corpus(Path(folder), images)
        found = time_input(corpus, ["jaxcnn", *against], rounds=rounds, batches=batches)
        for name, rate in found.items():
            ratio = "  1.00" if name == "jaxcnn" else found.ratio(name, "jaxcnn").text(spread, "{:6.2f}")
            print(f"{name:20} {rate:10,.0f} images/s  {ratio}  ({CONTENDERS[name]})")
        if threads:
            print("\n".join(thread_lines(time_threads(corpus, threads, rounds=rounds, batches=batches))))
        if processes:
            for each in time_processes(corpus, processes, rounds=rounds, batches=batches):
                print(
                    f"{each.processes:3} processes {each.images_per_second:8,.0f} images/s  "
                    f"{1e6 * each.feeding_seconds:8,.0f} microseconds of a core for an image in the one that feeds them"
                )


def thread_lines(costs: Sequence[ThreadCost]) -> Iterator[str]:
    """Yields a line for each number of threads, and one for the fastest published run on eight chips of each kind."""
    for cost in costs:
        yield (
            f"{cost.threads:3} threads {cost.images_per_second:10,.0f} images/s  "
            f"{1e6 * cost.processor_seconds:8,.0f} microseconds of a core for an image"
        )
    dearest = max(costs, key=lambda cost: cost.processor_seconds)
    yield (
        f"cores as busy as those of {dearest.threads} threads, for the published rates of eight chips; the threads of "
        "one process cannot use so many, because they share Python's lock (docs/performance.md, Cores):"
    )
    eight = sorted((run for run in published_runs() if run.chips == 8), key=lambda run: run.images_per_second)
    fastest = {(run.network, run.machine): run for run in eight}
    for run in sorted(fastest.values(), key=lambda run: run.images_per_second):
        rate = run.images_per_second
        yield f"{dearest.cores(rate):5.0f} cores  {rate:8,.0f} images/s  {run.network}, 8 {run.machine}, {run.series}"


def augment(
    *, model: str = "resnet50", batch: int = 16, size: int = 224, rounds: int = 9, spread: float = SPREAD
) -> None:
    """Prints the images a second of each augmentation with normalization, and its share of a training step.

    Args:
        model: the network whose training step is the measure.
        batch: the number of images in a batch.
        size: the height and width of the images in pixels.
        rounds: the turns that each takes; medians are printed.
        spread: the largest spread of a share that is printed.
    """
    keep_freed_memory()
    step, rows = time_augmentations(usual_lists(), model=model, batch=batch, size=size, rounds=rounds)
    print(f"a training step of {model}, batch {batch}, {size}x{size}: {1e3 * step:.0f} ms")
    for row in rows:
        share = row.share.text(spread, "{:7.2%}")
        print(f"{row.name:40} {batch / row.seconds:10,.0f} images/s  {1e3 * row.seconds:8.2f} ms  {share}")


def detection(
    models: tyro.conf.Positional[tuple[str, ...]] = ("resnet50",),
    *,
    proposals: int = 1000,
    mode: Literal["fast", "quality"] = "fast",
    context: int = CONTEXT,
    batch: int = 50,
    rounds: int = 5,
    spread: float = SPREAD,
) -> None:
    """Prints the milliseconds of each part of an image's proposals, and of its windows in one pass and as crops.

    Args:
        models: the names of networks, which get their initial weights.
        proposals: the number of proposals, if the image, scikit-learn's photograph of a temple, has as many.
        mode: the mode of selective search.
        context: the number of pixels around a proposal in what the network sees.
        batch: the number of proposals or crops that the network takes together.
        rounds: the turns that each takes; medians are printed.
        spread: the largest spread of a ratio that is printed.
    """
    keep_freed_memory()
    pixels = photograph()
    for model in models:
        network = untrained(model)
        config = ProposalsConfig(mode=mode)
        found = time_proposals(network, pixels, config, context=context, count=proposals, at_once=batch, rounds=rounds)
        print(f"{model}: {found.count:,} proposals of an image of {pixels.shape[0]}x{pixels.shape[1]}")
        for part, seconds in found.seconds.items():
            print(f"  {part:45} {1e3 * seconds:10,.1f} ms")
        windows = compare_windows(network, with_channels(pixels, network.data.channels), at_once=batch, rounds=rounds)
        print(f"{model}: {windows.windows:,} windows of an image of {windows.shape[0]}x{windows.shape[1]}")
        longer = windows.seconds.ratio("crops", "one pass").text(spread, "{:.1f} times the time")
        print(f"  {'in one pass':45} {1e3 * windows.seconds['one pass']:10,.1f} ms")
        print(
            f"  {'as crops':45} {1e3 * windows.seconds['crops']:10,.1f} ms  "
            f"({longer}, {windows.operations:.1f} times the operations)"
        )
