"""Measures speed, as ratios in one run.

jaxcnn benchmark conv [MODEL...]   each lowering of a network's most expensive convolutions, beside what auto chooses
jaxcnn benchmark layers            pooling and normalization beside flax.linen's
jaxcnn benchmark train MODEL...    the full training step beside plain flax.linen layers and PyTorch
jaxcnn benchmark predict [MODEL...]
                                   the step of `evaluate` and `predict` beside PyTorch's inference, and its memory
jaxcnn benchmark start [RECIPE...] the time from `jaxcnn train` to its first step, by part
jaxcnn benchmark input             the input stream beside tf.data and PyTorch's DataLoader
jaxcnn benchmark augment           each augmentation, and lists of them, beside a training step
jaxcnn benchmark loop [RECIPE]     the training loop of a LeNet recipe beside a plain PyTorch loop
jaxcnn benchmark device            all that is worth measuring on an accelerator that is there for a few minutes
jaxcnn benchmark detection         an image's proposals by part, and its windows in one pass, beside cropping each

Each says first what processor it measures on and what that reaches. A ratio is the median of the ratios of the single
rounds. Its spread is the third quartile of these as a multiple of the first, and where that is above --spread, the row
says so and gives no ratio. SIGINT, SIGTERM and SIGHUP end what was started.
"""

import dataclasses
import functools
import os
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro

from jaxcnn.benchmarks.augment import time_augmentations, usual_lists
from jaxcnn.benchmarks.convolutions import Timing, dearest_shapes, time_convolution
from jaxcnn.benchmarks.device import DeviceSizes, measure
from jaxcnn.benchmarks.inference import CONTENDERS as PREDICTORS
from jaxcnn.benchmarks.inference import compare_inference
from jaxcnn.benchmarks.input import CONTENDERS as INPUTS
from jaxcnn.benchmarks.input import ThreadCost, make_corpus, time_input, time_threads
from jaxcnn.benchmarks.layers import time_layers
from jaxcnn.benchmarks.loop import compare_with_pytorch
from jaxcnn.benchmarks.networks import ELEVEN, untrained
from jaxcnn.benchmarks.proposals import photograph, time_proposals
from jaxcnn.benchmarks.rounds import SPREAD, Rounds
from jaxcnn.benchmarks.session import session
from jaxcnn.benchmarks.training import CONTENDERS, Job, compare_with_memory
from jaxcnn.benchmarks.tuning import fixed_set
from jaxcnn.benchmarks.windows import compare_windows
from jaxcnn.cli.shared import DEFAULT_RECIPE, with_data_dir
from jaxcnn.config.proposals import ProposalsConfig
from jaxcnn.data.decode import with_channels
from jaxcnn.detection.warp import CONTEXT
from jaxcnn.devices.memory import keep_freed_memory
from jaxcnn.laboratory.published import published_runs
from jaxcnn.laboratory.roofline import step_bound
from jaxcnn.laboratory.start import time_start
from jaxcnn.models.registry import get_variant
from jaxcnn.ops.conv_shape import ConvShape
from jaxcnn.pictures.lowerings import plot_timings
from jaxcnn.pictures.pyplot import import_pyplot
from jaxcnn.recipes import load_config
from jaxcnn.tables.device import device_lines


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


def train(
    models: tyro.conf.Positional[tuple[str, ...]],
    *,
    against: tuple[str, ...] = ("flax", "flax_kept", "pytorch"),
    batch: int = 16,
    size: int | None = None,
    dtype: Literal["float32", "bfloat16"] = "float32",
    rounds: int = 5,
    steps: int = 1,
    spread: float = SPREAD,
) -> None:
    """Prints images a second of the training step (forward, backward, optimizer, batch statistics), and its memory.

    Args:
        models: the names of networks.
        against: the contenders, out of xla, flax, flax_kept, pytorch, pytorch_compiled.
        batch: the number of images in a batch.
        size: the height and width of the input in pixels; by default each network's own.
        dtype: the data type of the computation.
        rounds: the turns that each takes; medians are printed.
        steps: the updates in a turn.
        spread: the largest spread of a ratio that is printed.
    """
    for model in models:
        job = Job(model, batch, size or get_variant(model).input_size, dtype)
        found, memory = compare_with_memory(job, ["jaxcnn", *against], rounds=rounds, steps=steps)
        print(f"{model}, batch {batch}, {job.size}x{job.size}, {dtype}")
        _print_contenders(found, {name: f"{memory[name].text()}  ({CONTENDERS[name]})" for name in found}, spread)


def _print_contenders(found: Rounds[str], remarks: Mapping[str, str], spread: float) -> None:
    """Prints a line for each contender: its images a second, our rate as a multiple of it, and a remark."""
    for name, rate in found.items():
        ratio = " " * 28
        if name != "jaxcnn":
            ratio = found.ratio("jaxcnn", name).text(spread, "jaxcnn is {:6.2f} times as fast")
        print(f"  {name:16} {rate:10.2f} images/s  {ratio}  {remarks[name]}")


def predict(
    models: tyro.conf.Positional[tuple[str, ...]] = ELEVEN,
    *,
    against: tuple[str, ...] = ("jaxcnn_folded", "pytorch"),
    batch: tuple[int, ...] = (1, 32),
    size: int | None = None,
    dtype: Literal["float32", "bfloat16"] = "float32",
    rounds: int = 5,
    images: int = 64,
    spread: float = SPREAD,
) -> None:
    """Prints the images a second of the step of `evaluate` and `predict`, and the memory of each contender.

    Args:
        models: the names of networks.
        against: the contenders, out of jaxcnn_folded, pytorch, pytorch_compiled.
        batch: the numbers of images in a batch, each of which is measured.
        size: the height and width of the input in pixels; by default each network's own.
        dtype: the data type of the computation.
        rounds: the turns that each takes; medians are printed.
        images: about the number of images in a turn.
        spread: the largest spread of a ratio that is printed.
    """
    for model in models:
        for at_once in batch:
            job = Job(model, at_once, size or get_variant(model).input_size, dtype)
            steps = max(1, images // at_once)
            found, memory = compare_inference(job, ["jaxcnn", *against], rounds=rounds, steps=steps)
            print(f"{model}, batch {at_once}, {job.size}x{job.size}, {dtype}")
            _print_contenders(found, {name: f"{memory[name].text()}  ({PREDICTORS[name]})" for name in found}, spread)


def start(
    recipes: tyro.conf.Positional[tuple[str, ...]] = (DEFAULT_RECIPE, "resnet50_imagenet"),
    *,
    batch: int | None = None,
    data_dir: str | None = None,
    rounds: int = 5,
) -> None:
    """Prints the seconds from `jaxcnn train` to the end of its first step, with and without kept programs.

    Args:
        recipes: the names or the paths of recipes; images that are not there are stood in for.
        batch: the number of images in a batch; by default the recipe's.
        data_dir: where tfds keeps its prepared data sets.
        rounds: the number of starts of each kind, of which the medians are printed.
    """
    for recipe in recipes:
        config = with_data_dir(load_config(recipe), data_dir)
        if batch is not None:
            config = dataclasses.replace(config, data=dataclasses.replace(config.data, batch_size=batch))
        found = time_start(recipe, config, rounds=rounds)
        print(f"{recipe}, batch {config.data.batch_size}: {'':20}  cold      kept")
        for part, cold in found["cold"].items():
            print(f"  {part:40} {cold:8.2f} s {found['kept'][part]:7.2f} s")
        print(f"  {'kept as a share of cold':40} {found['kept']['all'] / found['cold']['all']:8.0%}")


def input(
    *,
    against: tuple[str, ...] = tuple(name for name in INPUTS if name != "jaxcnn"),
    threads: tuple[int, ...] = (),
    images: int = 512,
    rounds: int = 5,
    batches: int = 16,
    spread: float = SPREAD,
) -> None:
    """Prints the images a second of the input stream, from artificial JPEG files of about 60 kB, 500x375.

    With --threads, it also prints what each number of threads delivers and costs, and how many cores would feed the
    published training runs on eight chips.

    Args:
        against: the contenders, out of jaxcnn_device, jaxcnn_augmented, jaxcnn_packed, jaxcnn_packed_device, tf_data,
            dataloader, dataloader_uint8.
        threads: numbers of threads, such as 1 2 4.
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
            print(f"{name:20} {rate:10,.0f} images/s  {ratio}  ({INPUTS[name]})")
        if threads:
            print("\n".join(thread_lines(time_threads(corpus, threads, rounds=rounds, batches=batches))))


def thread_lines(costs: Sequence[ThreadCost]) -> Iterator[str]:
    """Yields a line for each number of threads, and one for the fastest published run on eight chips of each kind."""
    for cost in costs:
        yield (
            f"{cost.threads:3} threads {cost.images_per_second:10,.0f} images/s  "
            f"{1e6 * cost.processor_seconds:8,.0f} microseconds of a core for an image"
        )
    dearest = max(costs, key=lambda cost: cost.processor_seconds)
    yield f"cores as busy as those of {dearest.threads} threads, for the published rates of eight chips:"
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


def loop(
    recipe: tyro.conf.Positional[str] = "lenet_mnist",
    *,
    data_dir: str | None = None,
    rounds: int = 9,
    steps: int = 100,
    spread: float = SPREAD,
) -> None:
    """Prints the images a second of a LeNet recipe's training loop and of a plain PyTorch loop over tensors.

    Args:
        recipe: the name or the path of the recipe to train.
        data_dir: where tfds keeps its prepared data sets.
        rounds: the turns that each takes; medians are printed.
        steps: the updates in a turn.
        spread: the largest spread of a ratio that is printed.
    """
    found = compare_with_pytorch(with_data_dir(load_config(recipe), data_dir), rounds=rounds, steps=steps)
    for name, rates in found.values_of.items():
        print(f"{name:8} {found[name]:10,.0f} images/s  ({min(rates):,.0f} to {max(rates):,.0f})")
    print(f"ratio    {found.ratio('jaxcnn', 'pytorch').text(spread, '{:10.2f}')}")


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


_SIZES = DeviceSizes()


def device(
    *,
    out: Path = Path("device.json"),
    minutes: float = 8,
    sizes: Annotated[DeviceSizes, tyro.conf.arg(name="")] = _SIZES,
) -> None:
    """Measures what is worth it on a device that is there for a few minutes, and prints rows for docs/performance.md.

    Every result is in the file before the next is measured; the same command goes on with what is missing.

    Args:
        out: the file of the results.
        minutes: the time after which no further measurement begins.
        sizes: what is measured.
    """
    # The contenders' processes share the device's memory with this one.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    with tempfile.TemporaryDirectory() as scratch:
        kept = measure(
            out, sizes, step_bound, minutes=minutes, scratch=Path(scratch), say=functools.partial(print, flush=True)
        )
    print("\n".join(device_lines(kept)))


def main(arguments: list[str]) -> int:
    """Returns the exit code."""
    commands: dict[str, Callable[..., None]] = {
        "conv": conv,
        "layers": layers,
        "train": train,
        "predict": predict,
        "start": start,
        "input": input,
        "augment": augment,
        "loop": loop,
        "device": device,
        "detection": detection,
    }
    framed = {name: _in_session(command) for name, command in commands.items()}
    tyro.extras.subcommand_cli_from_dict(framed, prog="jaxcnn benchmark", args=arguments)
    return 0


def _in_session(command: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(command)
    def framed(*arguments: object, **options: object) -> None:
        with session():
            command(*arguments, **options)

    return framed
