"""The lecture's table: sparse coding, SIFT with Fisher vectors, and networks, measured on one data set."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from jaxcnn.data.fingerprint import Fingerprint, difference
from jaxcnn.errors import UserError
from jaxcnn.evaluation.details import RESULT_FILE, read_result, wilson_interval
from jaxcnn.evaluation.result import Result
from jaxcnn.recipes import CONFIG_FILE, load_config
from jaxcnn.tables.recipe_results import last_evaluation
from jaxcnn.tables.stored import markdown
from jaxcnn.text import escaped
from jaxcnn.work_folder import kept_fingerprints, read_kept

PUBLISHED = {
    "sparse coding": {1: 47.1, 5: 28.2},
    "SIFT + Fisher vectors": {1: 45.7, 5: 25.7},
    "convolutional network": {1: 37.5, 5: 17.0},
}
"""The errors in percent on ILSVRC-2010's test images, by what was measured and by k: table 1 of Krizhevsky, Sutskever
and Hinton, NIPS 2012, whose first two rows are the best published by others, and whose network is AlexNet."""
SOURCE = "ILSVRC-2010's test images; Krizhevsky, Sutskever and Hinton, NIPS 2012, table 1"
_BASELINES = {"sparse-coding": "sparse coding", "sift-fisher": "SIFT + Fisher vectors"}
_NETWORK = "convolutional network"


@dataclasses.dataclass(frozen=True)
class Measured:
    """What a run of a baseline, or a training, has measured."""

    folder: Path
    """The folder of the run."""
    method: str
    """What was measured, a key of `PUBLISHED`."""
    name: str
    """The name of what was measured, as the table shows it."""
    data: str
    """The name of the data set."""
    fingerprints: dict[str, Fingerprint]
    """The fingerprints of the splits, by what they are for."""
    result: Result


def measured(folder: Path) -> Measured:
    """Reads the stored result of a baseline or of a training.

    Raises:
        UserError: the folder holds neither, or what it holds is not at its end.
    """
    if not (folder / CONFIG_FILE).is_file():
        raise UserError(f"{folder} is neither the folder of a baseline nor that of a training: it has no {CONFIG_FILE}")
    options = read_kept(folder / CONFIG_FILE, json.loads)
    if (kind := options.get("kind")) in _BASELINES:
        method = name = _BASELINES[kind]
        data, result = options["data"]["name"], _stored_result(folder, kind)
    else:
        config = load_config(folder)
        method, name, data = _NETWORK, config.model.name, config.data.name
        result = last_evaluation(folder, config).result
    fingerprints = kept_fingerprints(folder)
    return Measured(folder, method, name, data, fingerprints, result)


def table(runs: Sequence[Measured]) -> str:
    """Returns the results in Markdown, each with its interval, beside what was published on ILSVRC-2010.

    Args:
        runs: the results, of one data set; what has none is "not run".

    Raises:
        UserError: there are no results, or two of them are of different images.
    """
    if not runs:
        raise UserError("there is nothing to put into a table: name the folders of baselines and trainings")
    for other in runs[1:]:
        _refuse_unlike(runs[0], other)
    top_k = sorted({k for run in runs for k in run.result.errors})
    head = ["", *(f"top-{k} error, % (95 % interval)" for k in top_k), "images"]
    rows = [[*head, "published on ILSVRC-2010: top-1 / top-5 error, %"]]
    for method, errors in PUBLISHED.items():
        published = " / ".join(f"{error:.1f}" for error in errors.values())
        of_method = [run for run in runs if run.method == method]
        rows += [[_titled(run), *_figures(run.result, top_k), published] for run in of_method]
        if not of_method:
            rows.append([method, "not run", *[""] * len(top_k), published])
    images, data = runs[0].result.images, escaped(runs[0].data)
    return (
        f"{markdown(rows)}\nOurs: {data}, {images} images of {runs[0].fingerprints['evaluation'].split!r}, after "
        f"{runs[0].fingerprints['training'].images} of {runs[0].fingerprints['training'].split!r}. "
        f"Published: {SOURCE}.\n"
    )


def _titled(run: Measured) -> str:
    return run.method if run.name == run.method else f"{run.method} ({run.name})"


def _figures(result: Result, top_k: Sequence[int]) -> list[str]:
    cells = []
    for k in top_k:
        if (error := result.errors.get(k)) is None:
            cells.append("")
        else:
            low, high = wilson_interval(error, result.images)
            cells.append(f"{error:.2f} ({low:.2f} to {high:.2f})")
    return [*cells, str(result.images)]


def _refuse_unlike(first: Measured, other: Measured) -> None:
    for use, before in first.fingerprints.items():
        now = other.fingerprints.get(use)
        clause = f"it has none for {use}" if now is None else difference(before, now)
        if clause is None and now is not None and not (before.parts and now.parts) and first.data != other.data:
            clause = f"they are of {escaped(other.data)} and not of {escaped(first.data)}"
        if clause:
            raise UserError(
                f"{other.folder} was not run on the images for {use} of {first.folder}: {clause}; give runs of one "
                "data set"
            )


def _stored_result(folder: Path, kind: str) -> Result:
    if not (folder / RESULT_FILE).is_file():
        raise UserError(
            f"{folder} has no result yet: go on with `jaxcnn baseline {kind}`, the same options and --workdir {folder}"
        )
    return read_result(folder)
