"""A study of transfer: how well a network does on few images, trained from scratch, fine-tuned, or as features.

It is the experiment of a lecture: a network that has learnt a thousand categories from a million images is to tell
twenty others apart, of which there are twenty images each.
"""

import dataclasses
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from jaxcnn import loading, runs, strict_json
from jaxcnn.config import (
    CenterCrop,
    CheckpointConfig,
    Crop,
    EvaluationConfig,
    FinetuneConfig,
    TrainConfig,
)
from jaxcnn.config.features import ProbeConfig
from jaxcnn.config.study import ASKED_FOR, Method, StudyConfig
from jaxcnn.data.fingerprint import fingerprint
from jaxcnn.data.sources import Source, absolute_name
from jaxcnn.errors import UserError, writing
from jaxcnn.evaluation.evaluator import Interrupted
from jaxcnn.features.extraction import extract
from jaxcnn.features.probes import fit, predictions
from jaxcnn.features.store import Features, file_of
from jaxcnn.paths import absolute, expanded, replace_whole
from jaxcnn.recipes import run_folder
from jaxcnn.trained import Trained
from jaxcnn.training.interrupt import StopRequest
from jaxcnn.transfer.draws import POOL, Drawn, Pool, draw, images_by_class, open_sources
from jaxcnn.transfer.finetune import finetuning
from jaxcnn.transfer.summary import Summary
from jaxcnn.weights.published import is_published
from jaxcnn.work_folder import OTHER_FOLDER, WorkFolder

_LOG = logging.getLogger(__name__)
STUDY_FILE = "study.json"
"""The file of a study's folder that holds its results."""
MAX_FOLDS = 5
SCRATCH_RATE_FACTOR = 5.0
"""The learning rate from random weights over that of a fine-tuning, where none is given."""


@dataclasses.dataclass(frozen=True, order=True)
class Piece:
    """A result of a study: a classifier that is trained on some images of a split and measured on others."""

    split: int
    per_class: int
    method: Method

    @property
    def name(self) -> str:
        """The name of the piece's file and of its run folder."""
        return f"{self.method}-{self.per_class}-{self.split}"


def study(config: StudyConfig, workdir: str | Path) -> Summary | None:
    """Makes a study, or goes on with one: what the folder holds already is not computed again.

    The folder holds ``images/``, the folder data sets that were drawn; ``features/``; ``runs/``, a run folder for each
    network that was trained; ``results/``, a file for each result; and ``study.json``.

    Args:
        config: the options. In a later call, other results may be asked for (`ASKED_FOR`); ``study.json`` then holds
            those of all calls.
        workdir: the folder, which is made if need be.

    Returns:
        The results; None if SIGTERM or SIGINT asked to stop, and everything so far is saved.

    Raises:
        UserError: the data set, the network or the weights do not exist or do not fit, a class has too few images, or
            the folder holds another study, is in use, or cannot be written.
        MachineError: the disk is full, or fails.
    """
    workdir, config = expanded(workdir), _with_whole_paths(config)
    with StopRequest() as stop, WorkFolder(workdir, StudyConfig, "study", free=ASKED_FOR) as folder:
        data_sets = {split: config.data_of(split) for split in range(config.splits)}
        opened = {data.name: open_sources(data) for data in data_sets.values()}
        images = {name: images_by_class(sources) for name, sources in opened.items()}
        class_names = _same_classes(opened)
        draws = {split: draw(images[data.name], class_names, split, config) for split, data in data_sets.items()}
        prints = {source.title: fingerprint(source) for sources in opened.values() for source in sources}
        # This also refuses weights that are missing or another network's, before anything is computed.
        network = _pretrained(config)
        recipe = finetuning(config.network, config.weights, config.data.name)
        folder.claim(config, prints, images_of=config.data.name)
        folder.begin()
        most = max(config.images_per_class)
        probings = {}
        for number, (name, sources) in enumerate(opened.items()):
            pool = Pool(workdir / "images" / f"{config.splits}x{most}-{number}", sources, images[name])
            probing = _Probing(network, workdir / "features", pool)
            for split in (split for split, data in data_sets.items() if data.name == name):
                chosen = zip(draws[split].of(most), draws[split].test, strict=True)
                pool.fill((label, image) for label, both in enumerate(chosen) for some in both for image in some)
                probings[split] = probing
        try:
            for piece in _pieces(config):
                done = workdir / "results" / f"{piece.name}.json"
                if done.is_file():
                    continue
                if stop():
                    raise Interrupted
                drawn, probing = draws[piece.split], probings[piece.split]
                if piece.method in ("scratch", "finetuned"):
                    data_set = probing.pool.folder / f"split{piece.split}-{piece.per_class}"
                    probing.pool.link(drawn, piece.per_class, data_set)
                    trained = _train_config(recipe.config, config, piece, data_set, len(class_names))
                    result = runs.train(
                        trained, workdir / "runs" / piece.name, recipe=dataclasses.replace(recipe, config=trained)
                    )
                    if result is None:
                        raise Interrupted
                    error = result.errors[1]
                else:
                    error = probing.error(piece, drawn, config, stop)
                said = (piece.method, piece.per_class, piece.split, 100 - error)
                _LOG.info("%s, %d images a class, split %d: %.1f %%", *said)
                with writing(done, OTHER_FOLDER):
                    done.parent.mkdir(exist_ok=True)
                    replace_whole(done, strict_json.dumps({**dataclasses.asdict(piece), "top1_error": error}) + "\n")
        except Interrupted:
            return None
        summary = _read(workdir / "results")
        facts = {"config": dataclasses.asdict(config), "classes": list(class_names)}
        with writing(workdir / STUDY_FILE, OTHER_FOLDER):
            replace_whole(workdir / STUDY_FILE, strict_json.dumps(facts | summary.to_json(), indent=1) + "\n")
        return summary


def _same_classes(opened: Mapping[str, Sequence[Source]]) -> tuple[str, ...]:
    """Returns the names of the classes, which all data sets of a study share.

    Raises:
        UserError: they do not.
    """
    (first, sources), *others = opened.items()
    for name, found in others:
        if found[0].class_names != sources[0].class_names:
            raise UserError(f"{first} and {name} have different classes: give data sets of the same classes")
    return sources[0].class_names


def _pieces(config: StudyConfig) -> Iterator[Piece]:
    """Yields the pieces in the order in which they are computed: the quick ones first."""
    trained = [method for method in config.methods if method in ("scratch", "finetuned")]
    for methods in ([each for each in config.methods if each not in trained], trained):
        for split in range(config.splits):
            for per_class in sorted(set(config.images_per_class)):
                for method in methods:
                    yield Piece(split, per_class, method)


def _with_whole_paths(config: StudyConfig) -> StudyConfig:
    """Returns options whose paths mean the same in every working directory."""
    data = dataclasses.replace(config.data, name=absolute_name(config.data.name))
    weights = config.weights
    if weights is not None and (run_folder(weights) or not is_published(weights)):
        weights = str(absolute(weights))
    return dataclasses.replace(config, data=data, weights=weights)


def _pretrained(config: StudyConfig) -> Trained:
    if config.weights is not None and (folder := run_folder(config.weights)):
        return loading.load(folder)
    return loading.load(config.network, config.weights)


def _train_config(base: TrainConfig, config: StudyConfig, piece: Piece, images: Path, num_classes: int) -> TrainConfig:
    """Returns the options of a training, which takes as many steps on any number of images.

    Args:
        base: the options of a fine-tuning.
        config: the options of the study.
        piece: the result that it is for.
        images: the folder of its images.
        num_classes: the number of classes.
    """
    scratch = piece.method == "scratch"
    fine = config.learning_rate or base.optimizer.learning_rate
    rate = (config.scratch_rate or SCRATCH_RATE_FACTOR * fine) if scratch else fine
    steps = config.scratch_steps if scratch else config.steps
    epochs = steps * config.batch_size / (piece.per_class * num_classes)
    crops = (base.data.train_crop, base.data.evaluation_crop)
    train_crop, evaluation_crop = (_of_size(crop, config.image_size) for crop in crops)
    return dataclasses.replace(
        base,
        name=piece.name,
        seed=config.seed + piece.split,
        epochs=epochs,
        init_from=None if scratch else base.init_from,
        finetune=FinetuneConfig() if scratch else base.finetune,
        data=dataclasses.replace(
            base.data,
            name=f"folder:{images}",
            train_split="train",
            evaluation_split="test",
            batch_size=config.batch_size,
            train_crop=train_crop,
            evaluation_crop=evaluation_crop,
        ),
        optimizer=dataclasses.replace(base.optimizer, learning_rate=rate),
        # It is measured once, at the end.
        evaluation=EvaluationConfig(batch_size=100, every_epochs=int(epochs) + 1, top_k=(1,)),
        checkpoint=CheckpointConfig(every_steps=50, keep=1),
    )


def _of_size(crop: Crop, size: int | None) -> Crop:
    """Returns a crop of another size, whose image is scaled in proportion before it is cut."""
    if size is None:
        return crop
    if isinstance(crop, CenterCrop):
        return dataclasses.replace(crop, size=size, resize=round(crop.resize * size / crop.size))
    return dataclasses.replace(crop, size=size)


def _probe_config(piece: Piece, seed: int) -> ProbeConfig:
    """Returns the options of a classifier; of one image a class nothing can be left out to choose by."""
    assert piece.method not in ("scratch", "finetuned")
    if piece.per_class == 1:
        return ProbeConfig(kind=piece.method, seed=seed, regularization=(1.0,))
    return ProbeConfig(kind=piece.method, seed=seed, folds=min(MAX_FOLDS, piece.per_class))


class _Probing:
    """Classifiers on features of the pool, which are extracted once, when the first classifier needs them."""

    def __init__(self, network: Trained, folder: Path, pool: Pool) -> None:
        data = dataclasses.replace(
            network.data, name=f"folder:{pool.folder}", train_split=None, evaluation_split=None, data_dir=None
        )
        self._network = dataclasses.replace(network, data=data)
        self._folder = folder / pool.folder.name
        self.pool = pool
        self._read: tuple[np.ndarray, dict[str, int]] | None = None

    def error(self, piece: Piece, drawn: Drawn, config: StudyConfig, stop: Callable[[], bool]) -> float:
        """Returns the share of wrong answers in percent."""
        features, rows = self._features()
        names = self.pool.sources[0].class_names

        def of(images: tuple[tuple[int, ...], ...]) -> tuple[np.ndarray, np.ndarray]:
            places = [
                (rows[str(self.pool.path(label, image))], label)
                for label in range(len(images))
                for image in images[label]
            ]
            found, labels = map(np.array, zip(*places, strict=True))
            return features[found], labels

        probe_config = _probe_config(piece, config.seed + piece.split)
        probe = fit(*of(drawn.of(piece.per_class)), probe_config, class_names=names, stop=stop)
        tested, labels = of(drawn.test)
        return predictions(probe.scores(tested), labels).result((1,)).errors[1]

    def _features(self) -> tuple[np.ndarray, dict[str, int]]:
        """Returns the features (images, values), and the row of each image by its path in the pool."""
        if self._read is None:
            if not extract(self._network, self._folder, (POOL,), name="study"):
                raise Interrupted
            found = Features(file_of(self._folder, POOL), POOL)
            (layer,) = found.layers
            unread = np.flatnonzero(~found.known)
            if len(unread):
                raise UserError(
                    f"{found.names()[unread[0]]} in {self.pool.folder} cannot be read as an image, and {len(unread)} "
                    "in all: take them out of the data set, and choose another --workdir"
                )
            rows = {name.removeprefix(f"{POOL}/"): row for row, name in enumerate(found.names())}
            self._read = found.values(layer), rows
        return self._read


def _read(folder: Path) -> Summary:
    """Returns all results in a folder."""
    accuracies: dict[tuple[Method, int], dict[int, float]] = {}
    for file in sorted(folder.glob("*.json")):
        stored = json.loads(file.read_text(encoding="utf-8"))
        found = accuracies.setdefault((stored["method"], stored["per_class"]), {})
        found[stored["split"]] = 100 - stored["top1_error"]
    return Summary(accuracies)
