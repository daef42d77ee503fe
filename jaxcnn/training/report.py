"""What a run tells: a progress bar or lines, ``metrics.jsonl``, TensorBoard."""

import contextlib
import json
import os
import time
from pathlib import Path

import rich.console
import rich.progress
from tensorboardX import SummaryWriter

from jaxcnn.types import JsonObject


class MetricsLog:
    """Appends JSON objects to a file, one a line, each whole or absent.

    Resuming at a step first drops what was logged after it, so the file of a run that was killed reads as that of one
    that was not.
    """

    def __init__(self, path: Path, *, resume_step: int, evaluated: bool) -> None:
        self._path = path

        def happened(line: JsonObject) -> bool:
            at_resume = line["step"] == resume_step and (line["kind"] != "evaluation" or evaluated)
            return line["step"] < resume_step or at_resume

        kept = [line for line in read_metrics(path) if happened(line)]
        scratch = path.with_suffix(".tmp")
        scratch.write_text("".join(json.dumps(line) + "\n" for line in kept))
        os.replace(scratch, path)

    def write(self, kind: str, step: int, values: JsonObject) -> None:
        """Appends ``{"kind": kind, "step": step, **values}``."""
        with self._path.open("a") as file:
            file.write(json.dumps({"kind": kind, "step": step, **values}) + "\n")


def read_metrics(path: Path) -> list[JsonObject]:
    """Returns the lines of a ``metrics.jsonl``; a last one cut short by a kill is passed over."""
    if not path.exists():
        return []
    lines = []
    for line in path.read_text().splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            lines.append(json.loads(line))
    return lines


class Reporter:
    """The run's voice: use as a context manager around training.

    Args:
        workdir: where ``metrics.jsonl`` and ``tensorboard/`` go.
        first_step: where training starts or goes on.
        evaluated: whether the evaluation after ``first_step`` was made before.
        total_steps: where it ends.
        epochs: the same in epochs.
        steps_per_epoch: need not be whole.
        console: a progress bar is drawn where it is a terminal, else lines are printed.
        writes: whether anything is written to the folder: by one process of several.
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
        log = workdir / "metrics.jsonl"
        self._log = MetricsLog(log, resume_step=first_step, evaluated=evaluated) if writes else None
        self._console = console
        self._total_steps = total_steps
        self._steps_per_epoch = steps_per_epoch
        self._epochs = epochs
        self._writer = SummaryWriter(str(workdir / "tensorboard"), purge_step=first_step + 1, write_to_disk=writes)
        columns = (
            rich.progress.TextColumn("epoch {task.fields[epoch]:>5.1f}/{task.fields[epochs]:g}"),
            rich.progress.BarColumn(),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TextColumn("{task.fields[status]}"),
            rich.progress.TextColumn("ETA"),
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
        self._writer.close()

    def say(self, text: str) -> None:
        """Prints a line above the bar."""
        self._console.print(text, highlight=False, soft_wrap=True)

    def log(self, kind: str, step: int, values: JsonObject) -> None:
        """Writes a line to ``metrics.jsonl`` and says nothing."""
        if self._log is not None:
            self._log.write(kind, step, values)

    def advance(self, step: int) -> None:
        """Moves the bar."""
        self._progress.update(self._task, completed=step, epoch=self._epoch(step))

    def training(self, step: int, values: dict[str, float]) -> None:
        """Reports means since the last report, ``loss``, ``images_per_second`` and others, and counts ``bad_steps``."""
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
        # The last batch may run on into an epoch that is not asked for.
        return min(step / self._steps_per_epoch, self._epochs)

    def _record(self, kind: str, step: int, values: dict[str, float]) -> None:
        self.log(kind, step, {"epoch": self._epoch(step), **values})
        for name, value in values.items():
            self._writer.add_scalar(f"{kind}/{name}", value, step)
