"""What a run folder says of a run without its images and its network."""

import collections
import dataclasses
import json
import math
import statistics
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from jaxcnn.config import TrainConfig
from jaxcnn.errors import UserError
from jaxcnn.ops.lowering_rules import read_rules
from jaxcnn.recipes import load_recipe, run_folder
from jaxcnn.run_folder import OVERRIDES_FILE
from jaxcnn.training.epochs import whole_steps
from jaxcnn.training.report import read_metrics
from jaxcnn.types import JsonObject
from jaxcnn.work_folder import LOWERINGS_FILE, read_kept

METRICS_FILE = "metrics.jsonl"
"""The file of a run folder that holds its log."""


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """A run as its folder describes it."""

    folder: Path
    label: str
    """The name by which the page tells it from the others."""
    config: TrainConfig
    source: str | None
    """The text of its recipe, where the folder keeps one."""
    processor: str
    """The processor that it began on; empty where the folder does not say."""
    lines: tuple[JsonObject, ...]
    """The lines of its log."""
    overrides: Sequence[JsonObject] = ()
    """The options that were changed on the way, each time with the step."""

    def of_kind(self, kind: str) -> list[JsonObject]:
        """Returns the lines of the log of one kind, such as ``train``, ``evaluation`` and ``start``."""
        return [line for line in self.lines if line["kind"] == kind]

    @property
    def start(self) -> JsonObject:
        """The facts with which it began, or went on for the last time; empty where nothing is logged yet."""
        starts = self.of_kind("start")
        return starts[-1] if starts else {}

    @property
    def last_evaluation(self) -> JsonObject | None:
        """The latest evaluation in the log."""
        evaluations = self.of_kind("evaluation")
        return evaluations[-1] if evaluations else None

    @property
    def step(self) -> int:
        """The step that the log has come to."""
        return max((line["step"] for line in self.lines), default=0)

    @property
    def total_steps(self) -> int | None:
        """The step at which training ends; None where nothing is logged yet."""
        if "training_images" not in self.start:
            return None
        per_epoch = Fraction(self.start["training_images"], self.config.data.batch_size)
        return whole_steps(self.config.epochs, per_epoch)

    @property
    def finished(self) -> bool:
        """Whether the run was evaluated at its last step."""
        last = self.last_evaluation
        return last is not None and last["step"] == self.total_steps

    @property
    def state(self) -> str:
        """A few words on how far it is."""
        if self.finished:
            return f"finished at step {self.step:,}"
        if self.total_steps is None:
            return "begun, and nothing is logged yet"
        return f"at step {self.step:,} of {self.total_steps:,}"

    @property
    def seconds(self) -> float:
        """The time that its training steps took; evaluations and interruptions are not in it."""
        return math.fsum(map(seconds_of, self.of_kind("train")))

    def typical(self, value: str) -> float | None:
        """Returns the median of a value over the lines of training."""
        values = [line[value] for line in self.of_kind("train") if math.isfinite(line.get(value, math.nan))]
        return statistics.median(values) if values else None


def seconds_of(line: JsonObject) -> float:
    """Returns the time that a line of training stands for; 0 where it cannot be known."""
    rate = line.get("images_per_second", 0)
    return line["images"] / rate if math.isfinite(rate) and rate > 0 else 0.0


def read_runs(folders: Sequence[str | Path]) -> list[Run]:
    """Reads run folders. Their recipes are executed, as by every command that loads a run.

    Args:
        folders: the folders, in the order of the page.

    Raises:
        UserError: there are none, one is not a run folder or is named twice, or what it keeps cannot be read.
    """
    if not folders:
        raise UserError("no run is given: name at least one run folder, as in `jaxcnn report runs/lenet_digits`")
    paths = []
    for name in folders:
        path = run_folder(name)
        if path is None:
            raise UserError(f"{name} is not a run folder: give one, such as runs/lenet_digits")
        paths.append(path)
    twice = [path for path, count in collections.Counter(path.resolve() for path in paths).items() if count > 1]
    if twice:
        raise UserError(f"{twice[0]} is given twice: give each run once")
    return [_read(path, label) for path, label in zip(paths, labels_of(paths), strict=True)]


def labels_of(folders: Sequence[Path]) -> list[str]:
    """Returns the shortest ends of paths that tell them apart.

    Examples:
        >>> labels_of([Path("a/run"), Path("b/run"), Path("b/other")])
        ['a/run', 'b/run', 'other']
    """
    whole = [folder.resolve() for folder in folders]
    labels = []
    for path in whole:
        count = 1
        others = [other for other in whole if other != path]
        while any(other.parts[-count:] == path.parts[-count:] for other in others):
            count += 1
        labels.append("/".join(path.parts[-count:]))
    return labels


def _read(folder: Path, label: str) -> Run:
    recipe = load_recipe(folder)
    rules, record = folder / LOWERINGS_FILE, folder / OVERRIDES_FILE
    about: JsonObject = read_kept(rules, read_rules)[0] if rules.is_file() else {}
    return Run(
        folder=folder,
        label=label,
        config=recipe.config,
        source=recipe.source,
        processor=str(about.get("processor", "")),
        lines=tuple(read_metrics(folder / METRICS_FILE)),
        overrides=read_kept(record, json.loads) if record.is_file() else (),
    )
