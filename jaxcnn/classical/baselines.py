"""Baselines: training and measuring what came before convolutional networks, in a folder that keeps everything.

The work has five parts: a sample of descriptors; what is fitted on it, a mixture or a dictionary; the encodings of both
splits; a linear classifier of those for training; and its errors on those for evaluation. Each goes on from what the
folder holds of it, and what the folder holds at the end is the same bits however often the work was stopped.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import rich.console

from jaxcnn import strict_json
from jaxcnn.classical.describing import draw_sample, read_sample
from jaxcnn.classical.encodings import LAYER, encode_split, encoded_as_zeros
from jaxcnn.classical.methods import Arrays, Method, method_of
from jaxcnn.classical.sift import EXTRA, Grid, with_bins
from jaxcnn.config import ConfigError, DataConfig, flatten, to_json
from jaxcnn.config.baselines import Baseline
from jaxcnn.config.options import with_absolute_paths
from jaxcnn.data.opening import open_measured
from jaxcnn.data.pipeline import Data, Split
from jaxcnn.data.sources import absolute_name
from jaxcnn.devices.parallel import DataParallel
from jaxcnn.devices.processes import check_same, gather, is_writer
from jaxcnn.devices.settings import own_settings
from jaxcnn.errors import UserError
from jaxcnn.evaluation.details import RESULT_FILE, read_result, save_details
from jaxcnn.evaluation.evaluator import Interrupted
from jaxcnn.evaluation.metrics import telling_top_k
from jaxcnn.evaluation.result import Result
from jaxcnn.features.arrays import read_arrays, write_arrays
from jaxcnn.features.linear import slices
from jaxcnn.features.probes import Probe, predictions
from jaxcnn.features.probing import fit_in
from jaxcnn.features.store import Features, file_of
from jaxcnn.opencv import opencv_without_threads
from jaxcnn.paths import expanded
from jaxcnn.provenance import versions
from jaxcnn.recipes import CONFIG_FILE
from jaxcnn.text import escaped, say
from jaxcnn.training.interrupt import StopRequest
from jaxcnn.types import JsonObject
from jaxcnn.work_folder import OTHER_FOLDER, PLACE, WorkFolder, by_writer, read_kept

FITTED_FILE = "fitted.safetensors"
"""The file of the folder that holds what is fitted on the sample."""
_PACKAGES = ("jaxcnn", "jax", "jaxlib", "numpy", "scikit-learn", "opencv-contrib-python-headless")
_SHOWN = 3
"""The number of images that a line names."""
_KEPT = 100
"""The number of images without descriptors that the result names."""


@own_settings()
def run(config: Baseline, workdir: str | Path, *, console: rich.console.Console | None = None) -> Result | None:
    """Trains and measures a baseline, or goes on with one, in a folder.

    Several processes may work together (see `jaxcnn.devices.processes`): all call this function with the same folder,
    which they share, and get the same result. They share the images; process 0 alone fits, writes and prints.

    Args:
        config: the options.
        workdir: the folder, which is made if need be.
        console: what progress is printed to; by default the terminal.

    Returns:
        The result, or None if SIGTERM or SIGINT asked to stop; everything is saved in both cases.

    Raises:
        UserError: the options ask for something impossible; OpenCV is not installed; or the folder holds other work, is
            in use, or cannot be written.
        MachineError: the disk is full, or fails; what was saved before stays whole.
    """
    workdir, config = expanded(workdir), _resolved(config)
    if console is None or not is_writer():
        console = rich.console.Console(quiet=not is_writer(), markup=False, emoji=False)
    with (
        StopRequest() as asked,
        WorkFolder(workdir, type(config), "baseline") as folder,
        opencv_without_threads(*EXTRA),
    ):
        parallel = DataParallel.over_all_devices()
        parallel.check_batch_size("data.batch_size", config.data.batch_size)
        data = open_measured(config.data)
        top_k = telling_top_k(config.top_k, len(data.class_names))
        fingerprints = {"training": data.train.fingerprint(), "evaluation": data.evaluation.fingerprint()}
        check_same("config", to_json(_telling(config)))
        check_same("data set", {use: each.to_json() for use, each in fingerprints.items()})
        by_writer(lambda: _refuse_other_work(workdir, config))
        folder.claim(_telling(config), fingerprints, images_of=config.data.name)
        if (result := by_writer(lambda: _stored_result(workdir, top_k))) is not None:
            return Result.from_metrics(result)
        if not folder.writable:
            raise UserError(f"{workdir} cannot be written, and has no result yet: make it writable, or copy it")
        for option, value in flatten(config).items():
            say(console, f"{option} = {value}")
        folder.begin()
        work = _Work(config, workdir, data, parallel, asked, console)
        try:
            encodings = work.encoded(work.fitted())
            work.fit_classifier(encodings["training"])
            result = work.measured(encodings, top_k)
        except Interrupted:
            result = None
    # No process may leave before the last file is written: at exit JAX waits for the others, but not for long.
    gather(None)
    return result


def _resolved(config: Baseline) -> Baseline:
    """Returns the options with everything filled in that they leave to the data, and whole paths."""
    data = config.data
    if data.channels != 1:
        raise ConfigError(f"data.channels is {data.channels}, and SIFT describes grey images: set it to 1")
    data = dataclasses.replace(data, name=absolute_name(data.name), residence="stream")
    return with_absolute_paths(
        dataclasses.replace(config, data=data, sift=with_bins(config.sift, data.evaluation_crop.size))
    )


def _telling(config: Baseline) -> Baseline:
    """Returns only those options that change what the folder holds in some bit, the others with their defaults."""
    given, data = config.data, DataConfig()
    names = ("name", "data_dir", "train_split", "evaluation_split", "channels", "batch_size", "evaluation_crop")
    data = dataclasses.replace(data, max_pixels=given.max_pixels, **{name: getattr(given, name) for name in names})
    return dataclasses.replace(config, data=data, top_k=Baseline.top_k)


def _refuse_other_work(folder: Path, config: Baseline) -> None:
    file = folder / CONFIG_FILE
    kind = read_kept(file, lambda text: json.loads(text).get("kind", "")) if file.is_file() else config.kind
    if kind != config.kind:
        held = f"the baseline {escaped(kind)}" if kind else "other work"
        raise UserError(f"{folder} holds {held} and not {config.kind}: {OTHER_FOLDER}")


def _stored_result(folder: Path, top_k: tuple[int, ...]) -> dict[str, float] | None:
    """Returns the metrics of an earlier call that counted the same errors; None where there was none."""
    if not (folder / RESULT_FILE).is_file():
        return None
    result = read_result(folder)
    return result.metrics() if tuple(sorted(result.errors)) == tuple(sorted(top_k)) else None


class _Work:
    """The parts of the work; each raises `Interrupted` where it is asked to stop.

    Args:
        config: the options, resolved.
        folder: the folder of the work.
        data: both splits.
        parallel: the devices.
        asked: whether this process was asked to stop.
        console: what progress is printed to.
    """

    def __init__(
        self,
        config: Baseline,
        folder: Path,
        data: Data,
        parallel: DataParallel,
        asked: Callable[[], bool],
        console: rich.console.Console,
    ) -> None:
        self._config = config
        self._folder = folder
        self._data = data
        self._parallel = parallel
        self._asked = asked
        self._console = console
        self._method: Method = method_of(config)
        self._grid = Grid(config.sift, config.data.evaluation_crop.size)

    def _stop(self) -> bool:
        """Returns whether any process was asked to stop; all must call it at the same points."""
        return any(gather(self._asked()))

    def fitted(self) -> Arrays:
        """Returns what is fitted on a sample of the training images' descriptors."""
        file, sample = self._folder / FITTED_FILE, self._folder / "sample"
        fitted = by_writer(lambda: file.exists() and bool(read_arrays(file)["done"]))
        if not fitted:
            self._say("drawing a sample of descriptors")
            draw_sample(self._data.train, self._config, self._grid, self._parallel, sample, self._stop)
            drawn = read_sample(sample, self._grid) if is_writer() else None
            if drawn is not None:
                self._say(f"fitting on {len(drawn.descriptors)} descriptors")

        def piece() -> bool:
            assert drawn is not None  # this is process 0
            before = read_arrays(file) if file.exists() else None
            after = self._method.fitted_further(drawn, before)
            write_arrays(file, after)
            return bool(after["done"])

        while not fitted:
            self._stop_if_asked()
            fitted = by_writer(piece)
        return read_arrays(file)

    def encoded(self, fitted: Arrays) -> dict[str, Features]:
        """Returns the encodings of both splits, by what these are for."""
        encoder, used, found = self._method.encoder(self._grid.positions), self._method.used(fitted), {}
        for use, split in self._splits.items():
            self._say(f"encoding {split.size} images for {use}")
            encode_split(
                split,
                use,
                encoder,
                used,
                self._grid,
                self._parallel,
                self._config.data.batch_size,
                self._folder,
                {"format": "jaxcnn encodings", "extraction": self._identity},
                self._stop,
            )
            self._report_unreadable(split)
            found[use] = Features(file_of(self._folder, use), use)
        return found

    def fit_classifier(self, training: Features) -> None:
        """Fits the linear classifier to the encodings for training, in process 0, unless the folder keeps it."""
        self._say("fitting the classifier")
        self._stop_if_asked()

        def fit_here() -> bool:
            try:
                self._classifier(training, self._asked)
            except Interrupted:
                return False
            return True

        # A signal to another process is heard after the fit.
        if not by_writer(fit_here):
            raise Interrupted

    def _classifier(self, training: Features, stop: Callable[[], bool]) -> Probe:
        return fit_in(self._folder, training, LAYER, self._config.probe, stop)

    def measured(self, encodings: dict[str, Features], top_k: tuple[int, ...]) -> Result:
        """Returns the errors on the split for evaluation, after writing them with their details."""
        return Result.from_metrics(by_writer(lambda: self._measure(encodings, top_k)))

    def _measure(self, encodings: dict[str, Features], top_k: tuple[int, ...]) -> dict[str, float]:
        evaluation, classifier = encodings["evaluation"], self._classifier(encodings["training"], lambda: False)
        if not evaluation.known.any():
            raise UserError(f"no image of {self._data.evaluation.name} can be read, so there is nothing to measure")
        scores = [classifier.scores(evaluation.values(LAYER, rows)) for rows in slices(len(evaluation))]
        found = predictions(np.concatenate(scores), evaluation.labels, evaluation.known)
        facts = {
            "kind": self._config.kind,
            "data": self._data.evaluation.name,
            "probe": dataclasses.asdict(self._config.probe),
            "chosen": classifier.chosen,
            "cross_validation": [row._asdict() for row in classifier.table],
            "without_descriptors": {use: self._without_descriptors(use, each) for use, each in encodings.items()},
            "devices": sorted({device.device_kind for device in jax.devices()}),
            "versions": versions(_PACKAGES),
        }
        save_details(self._folder, found, self._data.class_names, top_k, facts)
        return found.result(top_k).metrics()

    def _without_descriptors(self, use: str, encodings: Features) -> JsonObject:
        """Reports the images that are encoded as zeros; returns their number, and the names of the first of them."""
        split = self._splits[use]
        indices = encoded_as_zeros(encodings).tolist()
        names = [split.image_name(index) for index in indices[:_KEPT]]
        if names:
            named = ", ".join(names[:_SHOWN]) + (", ..." if len(indices) > _SHOWN else "")
            self._say(
                f"{len(indices)} of {split.size} images of {split.name} are encoded as zeros, because "
                f"{self._method.why_zeros}: {named}"
            )
        return {"count": len(indices), "images": names}

    def _report_unreadable(self, split: Split) -> None:
        # Each of several processes knows only of those among the images that it has read itself.
        bad = list(dict.fromkeys((name, reason) for found in gather(split.bad) for name, reason in found))
        if bad:
            (first, reason), others = bad[0], f" and {len(bad) - 1} others" if len(bad) > 1 else ""
            self._say(f"left out of {split.name}: {first} ({reason}){others}")
        split.refuse_bad(bad)

    @property
    def _splits(self) -> dict[str, Split]:
        return {"training": self._data.train, "evaluation": self._data.evaluation}

    @property
    def _identity(self) -> str:
        """The SHA-256 of the options that encodings depend on."""
        said = {name: str(value) for name, value in flatten(_telling(self._config)).items() if name not in PLACE}
        return hashlib.sha256(strict_json.dumps(said).encode()).hexdigest()

    def _stop_if_asked(self) -> None:
        if self._stop():
            raise Interrupted

    def _say(self, text: str) -> None:
        say(self._console, text)
