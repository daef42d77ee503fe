"""Measuring a probe: fitted to the features of one split, measured on those of another, in a folder that resumes."""

import dataclasses
import json
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from pathlib import Path

import numpy as np

from jaxcnn import strict_json
from jaxcnn.config import EvaluationConfig
from jaxcnn.config.features import FeaturesConfig, ProbeConfig
from jaxcnn.config.options import option_group
from jaxcnn.config.stored import group_from_json
from jaxcnn.errors import UserError, nearest, writing
from jaxcnn.evaluation.details import save_details
from jaxcnn.evaluation.evaluator import Interrupted
from jaxcnn.evaluation.metrics import telling_top_k
from jaxcnn.evaluation.predictions import Predictions
from jaxcnn.evaluation.result import Result
from jaxcnn.features.extraction import identity
from jaxcnn.features.folds import Trial, tabulate
from jaxcnn.features.linear import slices
from jaxcnn.features.probes import LinearProbe, Probe, fit, predictions
from jaxcnn.features.store import Features, file_name, file_of, splits_in
from jaxcnn.paths import expanded, replace_whole
from jaxcnn.recipes import CONFIG_FILE
from jaxcnn.training.interrupt import StopRequest
from jaxcnn.types import Json
from jaxcnn.work_folder import OTHER_FOLDER, WorkFolder, kept_fingerprints, read_kept

PROBES = "probes"
"""The folder in a folder of features that probes are put into by default."""
TRIALS_FILE = "trials.json"
"""The file of a probe's folder that holds the fits of cross-validation that are done."""
PROBE_FILE = "probe.safetensors"
"""The file of a probe's folder that holds a linear probe that has been fitted."""


@option_group
class ProbingConfig:
    """Everything that the measurement of a probe depends on."""

    extraction: str
    """What tells the features from those of another extraction: see `jaxcnn.features.extraction.identity`."""
    layer: str
    """The name of the layer."""
    fit_on: str
    """The split to whose features the probe is fitted."""
    measure_on: str
    """The split that it is measured on."""
    probe: ProbeConfig = ProbeConfig()


@dataclasses.dataclass(frozen=True, eq=False)
class Probed:
    """A probe, and what it was measured to be."""

    probe: Probe
    predictions: Predictions
    result: Result
    class_names: tuple[str, ...]
    folder: Path
    """The folder that keeps all of it."""


class StoredTrials(MutableMapping[tuple[float, int], Trial]):
    """The fits of a cross-validation that are done, which a file keeps from one sitting to the next.

    Args:
        path: the file, which is written anew, whole, for each fit.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._done: dict[tuple[float, int], Trial] = read_kept(path, _parse_trials) if path.exists() else {}

    def __getitem__(self, key: tuple[float, int]) -> Trial:
        return self._done[key]

    def __setitem__(self, key: tuple[float, int], trial: Trial) -> None:
        self._done[key] = trial
        self._write()

    def __delitem__(self, key: tuple[float, int]) -> None:
        del self._done[key]
        self._write()

    def __iter__(self) -> Iterator[tuple[float, int]]:
        return iter(self._done)

    def __len__(self) -> int:
        return len(self._done)

    def _write(self) -> None:
        rows = [[value, fold, *trial] for (value, fold), trial in self._done.items()]
        with writing(self._path, OTHER_FOLDER):
            replace_whole(self._path, strict_json.dumps(rows) + "\n")


def _parse_trials(text: str) -> dict[tuple[float, int], Trial]:
    return {(value, fold): Trial(tested, right) for value, fold, tested, right in json.loads(text)}


def probe(
    folder: str | Path,
    config: ProbeConfig,
    *,
    layer: str | None = None,
    fit_on: str | None = None,
    measure_on: str | None = None,
    workdir: str | Path | None = None,
    top_k: Sequence[int] = EvaluationConfig.top_k,
    details: str | Path | None = None,
) -> Probed | None:
    """Fits a probe to the features of a split, measures it on those of another, and keeps everything in a folder.

    The folder holds ``config.json``, ``data.json``, the fits of cross-validation that are done in ``trials.json``, a
    linear probe in ``probe.safetensors``, and what `save_details` writes. An interrupted call goes on after the last
    fit that was done, and ends in the same bits.

    Args:
        folder: the folder of the features, which `jaxcnn.features.extraction.extract` has made.
        config: the options of the probe.
        layer: the layer; it may be left out where the folder holds one.
        fit_on: the split to fit to; by default ``train``, or the only one that begins so.
        measure_on: the split to measure on; it may be left out where the folder holds one beside the other.
        workdir: the folder of the probe; by default one in ``probes/`` in the folder of the features.
        top_k: each k for which errors are counted; those that are not below the number of classes are left out.
        details: the folder to write the details to, if it is another than that of the probe.

    Returns:
        The measured probe; None if SIGTERM or SIGINT asked to stop, with everything so far saved.

    Raises:
        UserError: there are no such features, the splits do not belong together, the probe cannot be fitted, or its
            folder holds another, is in use, or cannot be written.
        MachineError: the disk is full, or fails.
    """
    folder = expanded(folder)
    extracted = _extracted(folder)
    fit_on, measure_on = _splits(folder, fit_on, measure_on)
    fitted, measured = (_open(folder, split, extracted) for split in (fit_on, measure_on))
    if fitted.class_names != measured.class_names:
        raise UserError(
            f"the splits {fit_on!r} and {measure_on!r} of {folder} have different classes: extract features of splits "
            "of one data set"
        )
    layer = _layer(fitted, layer)
    names = fitted.class_names
    top_k = telling_top_k(top_k, len(names))
    if workdir is None:
        title = "-".join((config.kind, layer, fit_on, measure_on))
        workdir = folder / PROBES / file_name(title.replace("/", "."))
    workdir, prints = expanded(workdir), kept_fingerprints(folder)
    whole = ProbingConfig(identity(extracted), layer, fit_on, measure_on, config)
    with StopRequest() as stop, WorkFolder(workdir, ProbingConfig, "probe") as own:
        uses = {"fitting": prints[fit_on], "measuring": prints[measure_on]}
        own.claim(whole, uses, images_of=extracted.data.name)
        own.begin()
        try:
            found = fit_in(workdir, fitted, layer, config, stop)
        except Interrupted:
            return None
        scores = [found.scores(measured.values(layer, rows)) for rows in slices(len(measured))]
        answers = predictions(np.concatenate(scores), measured.labels, measured.known)
        facts: dict[str, Json] = {
            "network": extracted.network,
            "layer": layer,
            "pooling": extracted.pooling,
            "data": extracted.data.name,
            "fitted_to": fit_on,
            "measured_on": measure_on,
            "probe": dataclasses.asdict(config),
            "chosen": found.chosen,
            "cross_validation": [row._asdict() for row in found.table],
        }
        save_details(expanded(details) if details else workdir, answers, names, top_k, facts)
    return Probed(found, answers, answers.result(top_k), names, workdir)


def _extracted(folder: Path) -> FeaturesConfig:
    """Returns the options with which the features in a folder were extracted."""
    file = folder / CONFIG_FILE
    if not file.is_file():
        raise UserError(f"{folder} holds no features: extract some with `jaxcnn features NETWORK --workdir {folder}`")
    return read_kept(file, lambda text: group_from_json(FeaturesConfig, text))


def _splits(folder: Path, fit_on: str | None, measure_on: str | None) -> tuple[str, str]:
    """Returns the split to fit to and the one to measure on, after checking that there are both."""
    known = splits_in(folder)
    for split in (fit_on, measure_on):
        if split is not None and split not in known:
            raise UserError(
                f"{folder} holds no features of a split {split!r} that are whole: {nearest(split, known)} `jaxcnn "
                "features` extracts others"
            )
    if fit_on is None:
        named = [split for split in known if split.startswith("train") and split != measure_on]
        if len(named) != 1:
            raise _unclear(folder, "fit to", "--fit-on", known)
        (fit_on,) = named
    if measure_on is None:
        others = [split for split in known if split != fit_on]
        if len(others) != 1:
            raise _unclear(folder, "measure on", "--measure-on", known)
        (measure_on,) = others
    if fit_on == measure_on:
        raise UserError(
            f"the probe would be measured on the images of {fit_on!r}, which it is fitted to: give another split with "
            "--measure-on"
        )
    return fit_on, measure_on


def _unclear(folder: Path, use: str, option: str, known: Sequence[str]) -> UserError:
    there = f"those of {', '.join(map(repr, known))}" if known else "of no split"
    return UserError(f"{folder} holds whole features {there}, so the split to {use} is not clear: give {option} SPLIT")


def _open(folder: Path, split: str, extracted: FeaturesConfig) -> Features:
    found = Features(file_of(folder, split), split)
    if found.extraction != identity(extracted):
        raise UserError(
            f"{found.path} is of another extraction than {folder / CONFIG_FILE} says, with other weights, layers or "
            "crops: put the right file there, or extract the features again"
        )
    return found


def _layer(features: Features, layer: str | None) -> str:
    if layer is None:
        if len(features.layers) > 1:
            raise UserError(
                f"{features.path.parent} holds {len(features.layers)} layers, so it is not clear which to take: give "
                f"--layer NAME; {nearest('', features.layers)}"
            )
        (layer,) = features.layers
    elif layer not in features.layers:
        raise UserError(f"{features.path.parent} holds no layer {layer!r}: {nearest(layer, features.layers)}")
    return layer


def fit_in(workdir: Path, features: Features, layer: str, config: ProbeConfig, stop: Callable[[], bool]) -> Probe:
    """Returns the probe that a folder keeps or, where it keeps none, fits it or goes on with its fit.

    Args:
        workdir: the folder, which keeps the fits of cross-validation in `TRIALS_FILE` and a linear probe in
            `PROBE_FILE`.
        features: the features of the images to fit to.
        layer: the layer.
        config: the options.
        stop: called before each fit.

    Raises:
        Interrupted: ``stop`` returned True; the fits that are done are kept.
        UserError: the probe cannot be fitted, or a file is damaged or cannot be written.
        MachineError: the disk is full, or fails.
    """
    import safetensors.numpy

    trials, file = StoredTrials(workdir / TRIALS_FILE), workdir / PROBE_FILE
    if file.exists():
        try:
            arrays = safetensors.numpy.load_file(file)
            return LinearProbe.from_arrays(arrays, tabulate(trials, config.regularization, config.folds))
        except (safetensors.SafetensorError, KeyError) as error:
            raise UserError(f"{file} is not a whole probe ({error}): remove it, and it is fitted again") from None
    known = features.known
    found = fit(
        features.values(layer)[known],
        features.labels[known],
        config,
        class_names=features.class_names,
        trials=trials,
        stop=stop,
    )
    if isinstance(found, LinearProbe):  # nearest neighbours are the features themselves
        with writing(file, OTHER_FOLDER):
            replace_whole(file, safetensors.numpy.save(found.arrays()))
    return found
