"""A report on how a recipe scales: predictions for many chips, beside published runs and what was measured here."""

import dataclasses
import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from jaxcnn.config import TrainConfig
from jaxcnn.data.pipeline import Data
from jaxcnn.devices.machines import Machine
from jaxcnn.devices.parallel import DataParallel
from jaxcnn.errors import UserError
from jaxcnn.laboratory.dry_run import DoesNotFit, data_or_stand_in
from jaxcnn.laboratory.kept_steps import Kept, key_of
from jaxcnn.laboratory.published import PublishedRun, runs_of
from jaxcnn.laboratory.scaling import Prediction, Scaling, Step, compile_for, to_compile
from jaxcnn.types import JsonObject

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Variant:
    """One way to spread a step over chips."""

    batch_norm: Literal["global", "local"] | int
    """The scope of batch normalization, as ``parallel.batch_norm`` takes it."""
    shard_optimizer: bool
    """Whether the optimizer's state is spread over the chips (ZeRO-1)."""

    def __str__(self) -> str:
        scope = f"groups of {self.batch_norm}" if isinstance(self.batch_norm, int) else self.batch_norm
        return f"batch norm {scope}, optimizer state {'spread (ZeRO-1)' if self.shard_optimizer else 'whole'}"

    def of(self, config: TrainConfig) -> TrainConfig:
        """Returns the config that spreads its step so."""
        parallel = dataclasses.replace(
            config.parallel, batch_norm=self.batch_norm, shard_optimizer=self.shard_optimizer
        )
        return dataclasses.replace(config, parallel=parallel)


@dataclasses.dataclass(frozen=True)
class Chips:
    """The chips to compile for, and those to predict for."""

    topology: DataParallel
    name: str
    """The name of the topology."""
    machine: Machine
    """The machine whose figures are taken."""


@dataclasses.dataclass(frozen=True)
class Series:
    """Predictions for growing numbers of chips."""

    variant: Variant
    mode: str
    """``weak``, with as many images on each chip however many there are, or ``strong``, with as many in all."""
    images: int
    """The number of images on each chip if weak, and in all if strong."""
    predictions: tuple[Prediction, ...]

    def __str__(self) -> str:
        where = "on each chip" if self.mode == "weak" else "in all"
        return f"{self.mode} scaling, {self.images:,} images {where}, {self.variant}"

    def efficiency(self, prediction: Prediction) -> tuple[float, float]:
        """Returns the images a second of a chip over those of one in the first prediction, without and with overlap."""
        first = self.predictions[0]
        low, high = (
            (rate / prediction.chips) / (base / first.chips)
            for rate, base in zip(prediction.rates, first.rates, strict=True)
        )
        return low, high


@dataclasses.dataclass(frozen=True)
class Against:
    """A published run, and what is predicted for as many chips and images."""

    run: PublishedRun
    prediction: Prediction
    anchored: tuple[float, float] | None
    """The images a second, without overlap and with all of it, that follow from the series' first run: the predicted
    rate, times the published over the predicted rate of that run. None for the first run itself."""

    @property
    def errors(self) -> tuple[float, float]:
        """The predicted over the published rate, less 1, without overlap and with all of it."""
        low, high = self.prediction.rates
        return low / self.run.images_per_second - 1, high / self.run.images_per_second - 1

    @property
    def anchored_errors(self) -> tuple[float, float] | None:
        """The same of the rates that follow from the series' first run."""
        if self.anchored is None:
            return None
        low, high = self.anchored
        return low / self.run.images_per_second - 1, high / self.run.images_per_second - 1

    def to_json(self) -> JsonObject:
        """Returns all of it as JSON."""
        low, high = self.errors
        return {
            "published": dataclasses.asdict(self.run),
            "predicted": self.prediction.to_json(),
            "error_no_overlap": low,
            "error_full_overlap": high,
            "anchored_images_per_second": self.anchored,
            "anchored_errors": self.anchored_errors,
        }


@dataclasses.dataclass(frozen=True)
class ScalingReport:
    """What is predicted of a recipe on a machine's chips."""

    config: TrainConfig
    chips: Chips
    images: float
    """The number of images that the recipe trains on, over all epochs."""
    kernel_floor: float
    """The least seconds of a kernel; 0 where each takes its bound."""
    steps: dict[Variant, dict[int, Step]]
    """The compiled steps, by how they are spread and by the number of images on each chip."""
    refused: tuple[str, ...]
    """The sentences that refused steps."""
    series: tuple[Series, ...]
    against: tuple[Against, ...]

    def to_json(self) -> JsonObject:
        """Returns the report as JSON."""
        machine = self.chips.machine
        return {
            "recipe": self.config.name,
            "network": self.config.model.name,
            "dtype": self.config.model.dtype,
            "topology": self.chips.name,
            "machine": machine.name,
            "kind": "predictions from published ceilings; nothing of it is measured",
            "figures": {
                "memory_bytes_per_s": machine.memory_bytes_per_s,
                "flops": dict(machine.flops),
                "link_bytes_per_s": machine.link_bytes_per_s,
                "host_bytes_per_s": machine.host_bytes_per_s,
                "sources": {figures: list(sources) for figures, sources in machine.sources.items()},
            },
            "kernel_floor_seconds": self.kernel_floor,
            "refused": list(self.refused),
            "predicted": [
                {
                    "mode": each.mode,
                    "images": each.images,
                    **dataclasses.asdict(each.variant),
                    "points": [point.to_json() for point in each.predictions],
                }
                for each in self.series
            ],
            "published": [each.to_json() for each in self.against],
        }


def make_report(
    config: TrainConfig,
    chips: Chips,
    kept: Kept,
    *,
    counts: Sequence[int],
    weak: Sequence[int],
    strong: Sequence[int],
    variants: Sequence[Variant],
    published: bool,
    compiled: int = 3,
    kernel_floor: float = 0.0,
) -> ScalingReport:
    """Compiles a recipe's step for some numbers of images on a chip, and predicts it for many chips.

    Args:
        config: the recipe.
        chips: the chips to compile and to predict for.
        kept: the file of compiled steps.
        counts: the numbers of chips to predict for.
        weak: numbers of images on each chip.
        strong: numbers of images in all; those numbers of chips are left out on each of which more would lie than the
            most of ``weak``, or as many as its devices cannot split.
        variants: the ways to spread a step.
        published: whether to predict the published runs of the same network, machine and type of products, too, with
            the statistics of batch normalization of each chip's own images, as most of them had.
        compiled: the most numbers of images that are compiled for each variant.
        kernel_floor: the least seconds of a kernel.

    Raises:
        UserError: an option does not fit, or a bandwidth of the machine is not known.
    """
    unit = chips.machine.devices_per_chip * config.parallel.micro_batches
    if uneven := [batch for batch in weak if batch % unit]:
        raise UserError(
            f"--images-per-chip {uneven[0]} cannot be split over the devices of a chip of {chips.machine.name} and the "
            f"micro-batches, which are {unit} parts: use {max(1, uneven[0] // unit) * unit}"
        )
    data, _ = data_or_stand_in(config.data)
    runs = runs_of(config.model.name, chips.machine.name, config.model.dtype) if published else ()
    local = Variant("local", False)
    needed: dict[Variant, set[int]] = {variant: _batches(counts, weak, strong, unit) for variant in variants}
    if runs:
        needed[local] = needed.get(local, set()) | {run.batch_per_chip for run in runs}
    steps: dict[Variant, dict[int, Step]] = {variant: {} for variant in needed}
    refused: list[str] = []
    for variant, batches in needed.items():
        for batch in reversed(to_compile(batches, compiled)):
            found = _compiled(variant.of(config), data, chips, kept, batch)
            if isinstance(found, Step):
                steps[variant][batch] = found
            else:
                refused.append(found)
    series = [
        each
        for variant in variants
        for each in _series(Scaling(chips.machine, steps[variant], kernel_floor), variant, counts, weak, strong)
    ]
    against = compare(runs, Scaling(chips.machine, steps[local], kernel_floor)) if runs else ()
    return ScalingReport(
        config=config,
        chips=chips,
        images=config.epochs * data.train.size,
        kernel_floor=kernel_floor,
        steps=steps,
        refused=tuple(refused),
        series=tuple(series),
        against=against,
    )


def _compiled(config: TrainConfig, data: Data, chips: Chips, kept: Kept, batch: int) -> Step | str:
    """Returns a compiled step, or the sentence that refuses it; one that is kept is not compiled."""
    key = key_of(config, chips.name, chips.machine.name, batch)
    found = kept.get(key)
    if found is None:
        _log.info("compiling for %s images on each chip of %s", batch, chips.name)
        try:
            found = compile_for(config, data, chips.topology, chips.machine, batch)
        except DoesNotFit as error:
            found = str(error)
        kept.put(key, found)
    return found


def _batches(counts: Sequence[int], weak: Sequence[int], strong: Sequence[int], unit: int) -> set[int]:
    """Returns the numbers of images on a chip that come about: multiples of a unit, none larger than the weak ones."""
    parts = {images // count for images in strong for count in counts if images % (count * unit) == 0}
    return set(weak) | {part for part in parts if part <= max(weak)}


def _series(
    scaling: Scaling, variant: Variant, counts: Sequence[int], weak: Sequence[int], strong: Sequence[int]
) -> Iterator[Series]:
    least, most = min(scaling.steps, default=0), max(scaling.steps, default=0)
    for batch in weak:
        if least <= batch <= most:
            yield Series(variant, "weak", batch, tuple(scaling.weak(counts, batch)))
    for images in strong:
        if found := scaling.strong(counts, images):
            yield Series(variant, "strong", images, tuple(found))


def compare(runs: Iterable[PublishedRun], scaling: Scaling) -> tuple[Against, ...]:
    """Returns published runs, each with what is predicted for as many chips and images; leaves out what did not fit."""
    found: list[Against] = []
    firsts: dict[str, Against] = {}
    least, most = min(scaling.steps, default=0), max(scaling.steps, default=0)
    for run in runs:
        if not least <= run.batch_per_chip <= most:
            continue
        machine = scaling.machine
        if run.chips_per_domain is not None:
            machine = dataclasses.replace(machine, chips_per_domain=run.chips_per_domain)
        prediction = scaling.predict(run.chips, run.batch_per_chip, machine)
        first, anchored = firsts.get(run.series), None
        if first is not None:
            low, high = (
                rate / base * first.run.images_per_second
                for rate, base in zip(prediction.rates, first.prediction.rates, strict=True)
            )
            anchored = low, high
        found.append(Against(run, prediction, anchored))
        firsts.setdefault(run.series, found[-1])
    return tuple(found)
