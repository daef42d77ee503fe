"""The reports of a run: a progress bar or printed lines, ``metrics.jsonl``, and TensorBoard's files."""

import contextlib
import json
import math
import time
from pathlib import Path

import rich.console
import rich.progress

from jaxcnn import strict_json
from jaxcnn.errors import writing
from jaxcnn.paths import replace_whole
from jaxcnn.text import say
from jaxcnn.training.tensorboard import ScalarLog
from jaxcnn.types import JsonObject


class MetricsLog:
    """Appends JSON objects to a file, one a line. A number that is not finite, as in a diverging run, is ``null``.

    When a run goes on from a step, what was logged after that step is dropped first. So the file of a run that was
    killed reads like that of a run that was not.
    """

    def __init__(self, path: Path, *, resume_step: int, evaluated: bool) -> None:
        self._path = path

        def happened(line: JsonObject) -> bool:
            at_resume = line["step"] == resume_step and (line["kind"] != "evaluation" or evaluated)
            return line["step"] < resume_step or at_resume

        kept = [line for line in read_metrics(path) if happened(line)]
        replace_whole(path, "".join(strict_json.dumps(line) + "\n" for line in kept))

    def write(self, kind: str, step: int, values: JsonObject) -> None:
        """Appends ``{"kind": kind, "step": step, **values}``."""
        with self._path.open("a") as file:
            file.write(strict_json.dumps({"kind": kind, "step": step, **values}) + "\n")


def read_metrics(path: Path) -> list[JsonObject]:
    """Returns the lines of a ``metrics.jsonl``, without one that a kill has cut short.

    A number that was not finite is NaN.
    """
    if not path.exists():
        return []
    lines = []
    for line in path.read_text().splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            lines.append({name: math.nan if value is None else value for name, value in json.loads(line).items()})
    return lines


class Reporter:
    """Reports the progress and the results of a run; it is a context manager to be entered around training.

    Args:
        workdir: the folder of ``metrics.jsonl`` and ``tensorboard/``.
        first_step: the step from which training starts or goes on.
        evaluated: whether the evaluation after ``first_step`` was made before.
        total_steps: the step at which training ends.
        epochs: the length of training, in epochs.
        steps_per_epoch: the number of steps in an epoch, which need not be whole.
        console: what is printed to: a progress bar if it is a terminal, else lines.
        writes: whether to write to the folder, as one of several processes does.

    Every method that writes raises `MachineError` or `UserError` where the folder cannot be written.
    """

    def __init__(
        self,
        workdir: Path,
        *,
        first_step: int,
        evaluated: bool,
        total_steps: int,
        epochs: float,
        steps_per_epoch: float,
        console: rich.console.Console,
        writes: bool = True,
    ) -> None:
        self._workdir = workdir
        self._log: MetricsLog | None = None
        self._scalars: ScalarLog | None = None
        if writes:
            with self._writing():
                self._log = MetricsLog(workdir / "metrics.jsonl", resume_step=first_step, evaluated=evaluated)
                self._scalars = ScalarLog(workdir / "tensorboard", first_step)
        self._console = console
        self._total_steps = total_steps
        self._steps_per_epoch = steps_per_epoch
        self._epochs = epochs
        columns = (
            rich.progress.TextColumn("epoch {task.fields[epoch]:>5.1f}/{task.fields[epochs]:g}", markup=False),
            rich.progress.BarColumn(),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TextColumn("{task.fields[status]}", markup=False),
            rich.progress.TextColumn("ETA", markup=False),
            rich.progress.TimeRemainingColumn(),
        )
        self._progress = rich.progress.Progress(*columns, console=console, disable=not console.is_terminal)
        self._task = self._progress.add_task(
            "", total=total_steps, completed=first_step, epoch=0.0, epochs=epochs, status="compiling"
        )
        self._started = time.monotonic()
        self._first_step = first_step

    def __enter__(self) -> "Reporter":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
        if self._scalars is not None:
            self._scalars.close()

    def say(self, text: str) -> None:
        """Prints a line above the progress bar."""
        say(self._console, text)

    def log(self, kind: str, step: int, values: JsonObject) -> None:
        """Writes a line to ``metrics.jsonl`` and prints nothing."""
        if self._log is not None:
            with self._writing():
                self._log.write(kind, step, values)

    def advance(self, step: int) -> None:
        """Moves the progress bar to a step."""
        self._progress.update(self._task, completed=step, epoch=self._epoch(step))

    def training(self, step: int, values: dict[str, float]) -> None:
        """Reports means since the last report, such as ``loss`` and ``images_per_second``, and counts ``bad_steps``."""
        self._record("train", step, values)
        status = (
            f"loss {values['loss']:.4f}  {values['images_per_second']:,.0f} images/s  "
            f"waiting for data {100 * values['data_wait_share']:.0f} %"
        )
        if values["bad_steps"]:
            status += f"  {values['bad_steps']} steps not finite and undone"
        self._progress.update(self._task, status=status)
        if not self._console.is_terminal:
            elapsed = time.monotonic() - self._started
            left = elapsed / max(step - self._first_step, 1) * (self._total_steps - step)
            self.say(f"epoch {self._epoch(step):.2f}/{self._epochs:g}  step {step}  {status}  ETA {left:.0f} s")

    def evaluation(self, step: int, values: dict[str, float], text: str) -> None:
        """Reports a pass over the evaluation split."""
        self._record("evaluation", step, values)
        self.say(f"epoch {self._epoch(step):.2f}/{self._epochs:g}  {text}")

    def _epoch(self, step: int) -> float:
        # The last batch may extend into an epoch that was not asked for.
        return min(step / self._steps_per_epoch, self._epochs)

    def _record(self, kind: str, step: int, values: dict[str, float]) -> None:
        self.log(kind, step, {"epoch": self._epoch(step), **values})
        if self._scalars is not None:
            with self._writing():
                self._scalars.write(kind, step, values)

    def _writing(self) -> contextlib.AbstractContextManager[None]:
        return writing(self._workdir, "choose another --workdir")
