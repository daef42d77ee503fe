"""What a report shows of a run's images and of its network: answers, mistakes, filters and augmented images."""

import dataclasses
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxcnn.data.fingerprint import difference
from jaxcnn.data.opening import open_data
from jaxcnn.data.pipeline import SINGLE_CROP, Data, Split
from jaxcnn.errors import MachineError, UserError
from jaxcnn.evaluation.details import Details, read_details, save_details
from jaxcnn.loading import WeightsOf, load_run
from jaxcnn.pictures.filters import Filters, first_filters
from jaxcnn.pictures.preview import Column, preview
from jaxcnn.pictures.report.run import Run
from jaxcnn.trained import Trained
from jaxcnn.training.manifest import saved_steps
from jaxcnn.work_folder import DATA_FILE, kept_fingerprints

DETAILS_FOLDER = "details"
"""The folder, in a run folder, of what the network answered to each image: see `save_details`."""
MOST_MISTAKES = 24
"""The most mistakes that are shown as pictures."""
SAMPLES = 6
"""The number of training images that are shown as the network saw them."""


class Mistake(NamedTuple):
    """An image that the network was certain and wrong about."""

    name: str
    """The name of the image in its data set."""
    label: str
    answer: str
    probability: float
    """The probability of the answer."""
    pixels: np.ndarray
    """The image as it was cut for the network, uint8 (height, width, 1 or 3)."""


@dataclasses.dataclass(frozen=True, eq=False)
class Seen:
    """What was found of a run's images and network. Each part is None where a reason says why."""

    step: int | None = None
    """The step of the checkpoint."""
    weights_of: WeightsOf = "raw"
    """Which weights were looked at: the average where the run keeps one."""
    details: Details | None = None
    mistakes: tuple[Mistake, ...] | None = None
    filters: Filters | None = None
    samples: tuple[Column, ...] | None = None
    reasons: dict[str, str] = dataclasses.field(default_factory=dict)
    """A sentence for each part that is missing, by the name of the part."""


class _Missing(Exception):
    """What a part needs is not to be had; the message says why."""


def look(run: Run, *, measure: bool = True, before: Seen | None = None) -> Seen:
    """Looks at a run's newest checkpoint and at its images. What cannot be had is left out, with a reason.

    The answers to the evaluation images are kept in the run folder, so that they are computed once for a checkpoint.

    Args:
        run: the run.
        measure: whether to compute the answers where they are not kept; else they are left out.
        before: what was found the last time, whose parts are taken where nothing can have changed.
    """
    steps = saved_steps(run.folder / "checkpoints")
    step = steps[-1] if steps else None
    weights_of: WeightsOf = "raw" if run.config.ema.decay is None else "ema"
    found, reasons = Seen(step, weights_of), {}
    opened: list[Data | _Missing] = []

    def data() -> Data:
        if not opened:
            try:
                opened.append(_open(run))
            except _Missing as error:
                opened.append(error)
        if isinstance(opened[0], _Missing):
            raise opened[0]
        return opened[0]

    def network() -> Trained:
        if step is None:
            raise _Missing("The run holds no checkpoint yet.")
        return load_run(run.folder, weights_of=weights_of)

    def details() -> Details:
        kept = read_details(run.folder / DETAILS_FOLDER)
        if kept is not None and (kept.facts.get("step"), kept.facts.get("weights_of")) == (step, weights_of):
            return kept
        if not measure:
            raise _Missing("It is measured when the run has ended, or by `jaxcnn report` without --watch.")
        return _measured(run, network(), data().evaluation, {"step": step, "weights_of": weights_of})

    def mistakes() -> tuple[Mistake, ...]:
        if known.details is None:
            raise _Missing(reasons["details"])
        return _mistakes(known.details, data().evaluation)

    known = found
    same = before is not None and before.step == step
    for part, make in {
        "samples": lambda: tuple(preview(run.config, SAMPLES, data())),
        "filters": lambda: first_filters(network()),
        "details": details,
        "mistakes": mistakes,
    }.items():
        earlier = getattr(before, part) if before is not None and (same or part == "samples") else None
        try:
            known = dataclasses.replace(known, **{part: make() if earlier is None else earlier})
        except (UserError, MachineError, OSError, _Missing) as error:
            reasons[part] = str(error) if isinstance(error, _Missing) else f"{error}."
    return dataclasses.replace(known, reasons=reasons)


def _open(run: Run) -> Data:
    """Returns the images of a run, if they are still those that it began with."""
    try:
        data = open_data(run.config.data)
    except (UserError, OSError) as error:
        raise _Missing(f"The images are not to be had here: {error}.") from error
    if (run.folder / DATA_FILE).is_file():
        known = kept_fingerprints(run.folder)
        for use, split in (("training", data.train), ("evaluation", data.evaluation)):
            if use in known and (clause := difference(known[use], split.fingerprint())):
                raise _Missing(f"The images for {use} are not those that the run began with: {clause}.")
    return data


def _measured(run: Run, network: Trained, split: Split, facts: dict[str, int | str | None]) -> Details:
    predictions = network.predictions(split, batch_size=run.config.evaluation.batch_size)
    folder = run.folder / DETAILS_FOLDER
    facts = facts | {"data": split.name, "views": SINGLE_CROP.kind}
    save_details(folder, predictions, network.classes_of(split)[0], run.config.evaluation.top_k, facts)
    found = read_details(folder)
    if found is None:
        raise _Missing(f"{folder} cannot be read: make it readable.")
    return found


def _mistakes(details: Details, split: Split) -> tuple[Mistake, ...]:
    found = []
    for row in details.confident_mistakes(MOST_MISTAKES):
        index, answer = int(details.image[row]), int(details.top[row, 0])
        names = (details.classes[int(label)].name for label in (details.label[row], answer))
        found.append(
            Mistake(split.image_name(index), *names, float(details.probability[row, 0]), _pixels(split, index))
        )
    return tuple(found)


def _pixels(split: Split, index: int) -> np.ndarray:
    if split.images is not None:
        return split.images[index]
    return next(split.evaluation_batches(1, first=index))["image"][0]


def stamp(folder: Path) -> tuple[object, ...]:
    """Returns something that changes whenever a report of a run folder may have become another."""
    files = (folder / "metrics.jsonl", folder / DETAILS_FOLDER / "result.json")
    times = [(path.stat().st_mtime_ns, path.stat().st_size) if path.is_file() else None for path in files]
    return (*times, *saved_steps(folder / "checkpoints")[-1:])
