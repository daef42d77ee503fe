"""What is worth measuring on an accelerator that is there for a few minutes, most important first.

Each measurement has a name, and its result is in the file before the next begins. So whatever ends the session, what
was measured is kept, and the same command goes on with what is missing.
"""

import dataclasses
import datetime
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import jax

from jaxcnn import strict_json
from jaxcnn.benchmarks.augment import time_augmentations, usual_lists
from jaxcnn.benchmarks.convolutions import dearest_shapes, time_convolution
from jaxcnn.benchmarks.exactness import differences_from_cpu
from jaxcnn.benchmarks.input import make_corpus, time_input
from jaxcnn.benchmarks.training import Job, compare, compiled_step
from jaxcnn.contenders import ContenderError
from jaxcnn.errors import UserError, writing
from jaxcnn.paths import replace_whole
from jaxcnn.provenance import versions
from jaxcnn.text import escaped
from jaxcnn.types import Json, JsonObject

Bound = Callable[[jax.stages.Compiled, jax.Device], float | None]
"""A function that returns the least seconds that a compiled step takes on a device by its bytes and operations, or None
where the device's figures are not known."""
Kind = Literal["exactness", "step", "augmentation", "input", "convolutions"]


@dataclasses.dataclass(frozen=True)
class DeviceSizes:
    """What is measured, and how large it is."""

    networks: tuple[str, ...] = (
        "resnet50",
        "efficientnet_b0",
        "convnext_tiny",
        "regnet_y_400mf",
        "resnext50_32x4d",
        "vgg16",
        "densenet121",
        "googlenet",
    )
    """The networks whose training steps are timed. The step of the first is what augmentation is compared with, and its
    convolutions are those that are timed."""
    against: tuple[str, ...] = ("flax", "pytorch_compiled")
    """The contenders beside ours: see `jaxcnn.benchmarks.training.CONTENDERS`."""
    batch: int = 256
    """The number of images in a batch."""
    size: int = 224
    """The height and width of the images, in pixels."""
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """The data type of the computation."""
    exact_networks: tuple[str, ...] = ("resnet18", "efficientnet_b0", "convnext_tiny", "googlenet")
    """The networks whose logits and gradients are compared with those of the CPU."""
    exact_size: int = 128
    """The height and width of the images of that comparison, in pixels."""
    convolutions: int = 12
    """The number of convolutions of which every lowering is timed."""
    augmentations: tuple[str, ...] = ()
    """The names of the lists of augmentations to time; by default all of `usual_lists`."""
    input_images: int = 512
    """The number of images that the input stream reads over and over; 0 leaves the stream out."""
    rounds: int = 5
    """The turns that each contender takes; medians are kept."""
    steps: int = 10
    """The training steps in a turn."""


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One thing to measure."""

    kind: Kind
    network: str = ""

    @property
    def name(self) -> str:
        """The name of the measurement in the file."""
        return f"{self.kind} {self.network}".strip()


def measurements(sizes: DeviceSizes) -> list[Measurement]:
    """Returns all that is to be measured, most important first."""
    exact = [Measurement("exactness", name) for name in sizes.exact_networks]
    steps = [Measurement("step", name) for name in sizes.networks]
    first = [Measurement("convolutions", name) for name in sizes.networks[:1]]
    return [
        *exact[:1],
        *steps[:4],
        *([Measurement("augmentation", sizes.networks[0])] if steps else []),
        *([Measurement("input")] if sizes.input_images else []),
        *steps[4:],
        *exact[1:],
        *first,
    ]


def measure(
    file: Path,
    sizes: DeviceSizes,
    bound: Bound,
    *,
    minutes: float,
    scratch: Path,
    say: Callable[[str], None] = print,
) -> JsonObject:
    """Measures what is missing in a file, until the time is over, and returns what the file then holds.

    What cannot be measured here, such as a contender that is not installed, is kept as a sentence under ``failed`` and
    tried again by the next call; the rest goes on.

    Args:
        file: a JSON file, which is made or gone on with.
        sizes: what is measured.
        bound: see `Bound`.
        minutes: the time after which no further measurement begins.
        scratch: a folder for the images that the input stream reads.
        say: what takes a line about each measurement.

    Raises:
        UserError: the file cannot be read or written, or was begun with other sizes, versions or devices.
    """
    deadline = time.monotonic() + 60 * minutes
    kept = _begun(file, sizes)
    wanted = measurements(sizes)
    for each in wanted:
        if each.name in kept["done"]:
            continue
        if time.monotonic() > deadline:
            say(f"{file}: the {minutes:g} minutes are over, and the same command goes on with {each.name}")
            break
        started = time.monotonic()
        try:
            kept["done"][each.name] = _measured(each, sizes, bound, scratch)
            kept["failed"].pop(each.name, None)
            outcome = "measured"
        except (UserError, jax.errors.JaxRuntimeError) as error:
            reason = escaped((str(error).splitlines() or [type(error).__name__])[0])
            kept["failed"][each.name] = reason
            outcome = f"cannot be measured: {reason}"
        _write(file, kept)
        say(f"{each.name}: {outcome} ({time.monotonic() - started:.0f} s)")
    return kept


def _begun(file: Path, sizes: DeviceSizes) -> JsonObject:
    """Returns what a file holds, or the beginning of a new one."""
    devices = jax.devices()
    packages = ("jaxcnn", "jax", "jaxlib", "flax")
    about = {
        "device": devices[0].device_kind,
        "platform": devices[0].platform,
        "devices": len(devices),
        "versions": versions(packages),
        "sizes": dataclasses.asdict(sizes),
    }
    about = json.loads(strict_json.dumps(about))
    try:
        kept = json.loads(file.read_text())
        if not (isinstance(kept, dict) and {"about", "date", "done", "failed"} <= set(kept)):
            raise ValueError("it holds other JSON")
    except FileNotFoundError:
        return {"about": about, "date": datetime.date.today().isoformat(), "done": {}, "failed": {}}
    except (OSError, ValueError) as error:
        raise UserError(f"{file} is no file of this benchmark ({escaped(str(error))}): name another --out") from None
    before = _flat(kept["about"])
    for name, value in _flat(about).items():
        if before.get(name) != value:
            raise UserError(
                f"{file} was begun with {name} {escaped(str(before.get(name)))}, and here it is {value}: name another "
                "--out"
            )
    return kept


def _flat(about: JsonObject) -> JsonObject:
    """Returns what the file says of the machine, the versions and the sizes, without levels."""
    own = {name: value for name, value in about.items() if not isinstance(value, dict)}
    return own | about.get("versions", {}) | about.get("sizes", {})


def _write(file: Path, kept: JsonObject) -> None:
    with writing(file, "name another --out"):
        replace_whole(file, strict_json.dumps(kept, indent=1) + "\n")


def _measured(measurement: Measurement, sizes: DeviceSizes, bound: Bound, scratch: Path) -> JsonObject:
    match measurement.kind:
        case "exactness":
            return differences_from_cpu(measurement.network, size=sizes.exact_size)
        case "step":
            return _step(Job(measurement.network, sizes.batch, sizes.size, sizes.dtype), sizes, bound)
        case "augmentation":
            return _augmentation(measurement.network, sizes)
        case "input":
            corpus = make_corpus(scratch, sizes.input_images)
            contenders = ["jaxcnn", "jaxcnn_device", "jaxcnn_augmented"]
            return {**time_input(corpus, contenders, rounds=sizes.rounds, batches=max(1, sizes.input_images // 64))}
        case "convolutions":
            return _convolutions(measurement.network, sizes)


def _step(job: Job, sizes: DeviceSizes, bound: Bound) -> JsonObject:
    """Returns images a second by contender, why others could not run, and the bound in images a second."""
    # The last ones are those most likely to be missing, and are found out before minutes of compilation.
    contenders, missing = [*reversed(sizes.against), "jaxcnn"], {}
    while True:
        try:
            rates = compare(job, contenders, rounds=sizes.rounds, steps=sizes.steps)
            break
        except ContenderError as error:
            if error.contender == "jaxcnn":
                raise
            contenders.remove(error.contender)
            missing[error.contender] = escaped(str(error))
    least = bound(compiled_step(job), jax.devices()[0])
    return {"images_per_second": {**rates}, "missing": missing, "bound": job.batch / least if least else None}


def _augmentation(network: str, sizes: DeviceSizes) -> JsonObject:
    """Returns the seconds of the network's step, and of each list of augmentations."""
    lists = usual_lists()
    chosen = {name: lists[name] for name in sizes.augmentations or lists}
    step, rows = time_augmentations(
        chosen, model=network, batch=sizes.batch, size=sizes.size, dtype=sizes.dtype, rounds=sizes.rounds
    )
    return {"step": step, "seconds": {row.name: row.seconds for row in rows}}


def _convolutions(network: str, sizes: DeviceSizes) -> JsonObject:
    """Returns, for each convolution and direction, the seconds of each lowering and the one that ``auto`` takes."""
    rows: list[Json] = []
    found = dearest_shapes(network, sizes.batch, sizes.size, sizes.dtype, count=sizes.convolutions)
    for shape, occurrences in found:
        for timing in time_convolution(shape, rounds=sizes.rounds, seconds=0.2):
            rows.append(
                {
                    "shape": dataclasses.asdict(shape),
                    "occurrences": occurrences,
                    "direction": timing.direction,
                    "auto": timing.chosen,
                    "seconds": {**timing.seconds},
                    "ratio": timing.ratio,
                }
            )
    return {"rows": rows}
