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
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Literal

import tyro

from jaxcnn.benchmarks.device import DeviceSizes, measure
from jaxcnn.benchmarks.inference import CONTENDERS as PREDICTORS
from jaxcnn.benchmarks.inference import compare_inference
from jaxcnn.benchmarks.loop import compare_with_pytorch
from jaxcnn.benchmarks.networks import ELEVEN
from jaxcnn.benchmarks.rounds import SPREAD, Rounds
from jaxcnn.benchmarks.session import session
from jaxcnn.benchmarks.training import CONTENDERS, Job, compare_with_memory
from jaxcnn.cli.benchmark_parts import augment, conv, detection, input, layers
from jaxcnn.cli.shared import DEFAULT_RECIPE, with_data_dir
from jaxcnn.laboratory.roofline import step_bound
from jaxcnn.laboratory.start import time_start
from jaxcnn.models.registry import get_variant
from jaxcnn.recipes import load_config
from jaxcnn.tables.device import device_lines


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
    if sys.dont_write_bytecode:
        print("Python keeps no compiled modules here (PYTHONDONTWRITEBYTECODE), so the imports take longer")
    for recipe in recipes:
        config = with_data_dir(load_config(recipe), data_dir)
        if batch is not None:
            config = dataclasses.replace(config, data=dataclasses.replace(config.data, batch_size=batch))
        found = time_start(recipe, config, rounds=rounds)
        print(f"{recipe}, batch {config.data.batch_size}: {'':20}  cold      kept")
        for part, cold in found["cold"].items():
            print(f"  {part:40} {cold:8.2f} s {found['kept'][part]:7.2f} s")
        print(f"  {'kept as a share of cold':40} {found['kept']['all'] / found['cold']['all']:8.0%}")


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
