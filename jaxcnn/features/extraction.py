"""Features of a network's layers for whole splits, which go to the disk batch by batch.

A device takes as many images together as `FeaturesConfig.images_at_once` says, and these are the same images in the
same places on any number of devices: the first so many, the next so many, and so on. XLA's bits may depend on how many
images are computed together; in this way the features do not depend on the number of devices and processes, nor on
where an extraction was interrupted.
"""

import contextlib
import dataclasses
import hashlib
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import flax.traverse_util
import jax
import numpy as np

from jaxcnn import strict_json
from jaxcnn.config import DataConfig, to_json
from jaxcnn.config.features import FeaturesConfig, Pooling
from jaxcnn.data.fingerprint import Fingerprint
from jaxcnn.data.opening import open_split
from jaxcnn.data.pipeline import SINGLE_CROP, Split
from jaxcnn.data.sources import absolute_name, evaluation_split
from jaxcnn.devices.feed import Batch, Feed
from jaxcnn.devices.memory import keep_for_batches_of
from jaxcnn.devices.parallel import DataParallel
from jaxcnn.devices.processes import AgreedStop, check_same
from jaxcnn.devices.settings import own_settings
from jaxcnn.errors import writing
from jaxcnn.evaluation.evaluator import BATCHES_IN_FLIGHT, Interrupted
from jaxcnn.features.layers import Layer, choose, extractor, layers_of
from jaxcnn.features.store import KNOWN, LABEL, Writer, file_of
from jaxcnn.features.streaming import Rows, over_devices, write_rows
from jaxcnn.networks import check_views
from jaxcnn.paths import absolute, expanded, replace_whole
from jaxcnn.trained import Trained
from jaxcnn.training.interrupt import StopRequest
from jaxcnn.types import Variables
from jaxcnn.work_folder import OTHER_FOLDER, WorkFolder, by_writer

_LOG = logging.getLogger(__name__)
_SHOWN = 3


@own_settings()
def layers(network: Trained) -> list[Layer]:
    """Returns all layers of a network for the images that it takes, in the order in which they are computed.

    Raises:
        UserError: its images do not fit it.
    """
    check_views(network.model, network.variables, network.normalization, network.data, SINGLE_CROP)
    size = network.data.evaluation_crop.size
    return layers_of(network.model, network.variables, (size, size, network.data.channels))


@own_settings()
def extract(
    network: Trained,
    workdir: str | Path,
    splits: Sequence[str] = (),
    *,
    name: str,
    layer: str | None = None,
    pooling: Pooling = FeaturesConfig.pooling,
    images_at_once: int = FeaturesConfig.images_at_once,
) -> bool:
    """Extracts features of splits of ``network.data``, or goes on with that.

    The folder gets a file for each split (see `jaxcnn.features.store`), and beside it one that names the images that
    cannot be read. Several processes may extract together: all call this function with the same folder, which they
    share, and process 0 alone writes. Called in another thread than the main one, no signal stops it.

    Args:
        network: the network, with the data set that is asked for.
        workdir: the folder of the features, which is made if need be. Further splits may be added to it later.
        splits: the names of the splits; by default the one to train on and the one to measure on.
        name: what the folder is to call the network.
        layer: a regular expression that the whole names of the layers match; by default the input of the last dense
            layer.
        pooling: what becomes of a layer's map.
        images_at_once: the number of images that a device takes together.

    Returns:
        Whether everything is done; False if SIGTERM or SIGINT asked to stop, and everything so far is saved.

    Raises:
        UserError: there is no such layer or split; or the folder holds other features, is in use, or cannot be written.
        MachineError: the disk is full, or fails; what was counted before stays whole.
    """
    workdir, data = expanded(workdir), dataclasses.replace(network.data, residence="stream")
    chosen = choose(layers(network), layer)
    splits = tuple(dict.fromkeys(splits or _usual_splits(data)))
    config = FeaturesConfig(
        network=name,
        weights_sha256=sha256_of(network.variables),
        layers=tuple(each.name for each in chosen),
        pooling=pooling,
        images_at_once=images_at_once,
        data=_telling(data),
        normalization=network.normalization,
    )
    parallel = DataParallel.over_all_devices()
    with StopRequest() as asked, WorkFolder(workdir, FeaturesConfig, "extraction") as folder:
        opened = {split: open_split(data, split) for split in splits}
        prints = {split: each.fingerprint() for split, each in opened.items()}
        check_same("config", to_json(config))
        check_same("data set", {split: each.to_json() for split, each in prints.items()})
        folder.claim(config, prints, images_of=data.name)
        folder.begin()
        stop = asked if jax.process_count() == 1 else AgreedStop(asked, parallel, BATCHES_IN_FLIGHT)
        function = extractor(network.model, network.normalization, config.layers, pooling)
        extraction = _Extraction(
            workdir,
            shapes={each.name: each.pooled(pooling) for each in chosen},
            identity=identity(config),
            compute=over_devices(of_batches(function), parallel),
            variables=parallel.put_everywhere(jax.tree.map(np.asarray, network.variables)),
            stop=stop,
        )
        keep_for_batches_of(images_at_once * max(math.prod(each.image_shape[-3:]) for each in opened.values()))
        for split in splits:
            if not by_writer(lambda split=split: file_of(workdir, split).exists()):
                feed = Feed(opened[split], parallel, images_at_once * parallel.mesh.size)
                try:
                    extraction.run(split, feed, prints[split])
                except Interrupted:
                    return False
    return True


def identity(config: FeaturesConfig) -> str:
    """Returns the SHA-256 of options, wherever their data set lies: features of the same one belong together."""
    here = dataclasses.replace(config, data=dataclasses.replace(config.data, name="", data_dir=None))
    return hashlib.sha256(to_json(here).encode()).hexdigest()


def _usual_splits(data: DataConfig) -> tuple[str, str]:
    measured = data.evaluation_split or evaluation_split(data.name, data.data_dir)
    return data.train_split or "train", measured


def _telling(data: DataConfig) -> DataConfig:
    """Returns only those options of a data set that features depend on, with paths that mean the same everywhere."""
    return DataConfig(
        name=absolute_name(data.name),
        data_dir=None if data.data_dir is None else str(absolute(data.data_dir)),
        channels=data.channels,
        evaluation_crop=data.evaluation_crop,
        max_pixels=data.max_pixels,
    )


def sha256_of(variables: Variables) -> str:
    """Returns the SHA-256 of a network's variables: of their names, data types, shapes and bits."""
    digest = hashlib.sha256()
    for path, leaf in sorted(flax.traverse_util.flatten_dict(dict(variables), sep="/").items()):
        array = np.ascontiguousarray(leaf)
        digest.update(f"{path} {array.dtype} {array.shape}\n".encode())
        digest.update(array.view(np.uint8).data if array.ndim else array.tobytes())
    return digest.hexdigest()


Compute = Callable[[Variables, Batch], Rows]


def of_batches(function: Callable[[Variables, jax.Array], Rows]) -> Compute:
    """Returns a function from variables and a batch to its features, labels and masks."""
    return lambda variables, batch: function(variables, batch["image"]) | {LABEL: batch["label"], KNOWN: batch["mask"]}


@dataclasses.dataclass(frozen=True)
class _Extraction:
    """What the splits of an extraction have in common."""

    folder: Path
    shapes: Mapping[str, tuple[int, ...]]
    """The shape of each layer's features of one image."""
    identity: str
    compute: Compute
    variables: Variables
    """The variables, a copy of which is on every device."""
    stop: Callable[[], bool]

    def run(self, split: str, feed: Feed, fingerprint: Fingerprint) -> None:
        """Extracts the features of a split from where they were interrupted; raises `Interrupted` where it stops."""
        images = feed.split
        facts = {
            "format": "jaxcnn features",
            "split": split,
            "class_names": strict_json.dumps(images.class_names),
            "extraction": self.identity,
            "images": hashlib.sha256(strict_json.dumps(fingerprint.to_json()).encode()).hexdigest(),
        }
        with contextlib.closing(Writer(self.folder, split, images.size, self.shapes, facts)) as writer:
            done = by_writer(lambda: writer.open(map(images.image_name, range(images.size))))
            if done:
                _LOG.info("%s: going on from image %s of %s", split, f"{done:,}", f"{images.size:,}")
            self._write(writer, feed, done)
            by_writer(lambda: self._finish(writer, images))

    def _write(self, writer: Writer, feed: Feed, done: int) -> None:
        def dispatched() -> Iterator[Rows]:
            for batch in feed.evaluation(done):
                if self.stop():
                    raise Interrupted
                yield self.compute(self.variables, batch)

        write_rows(writer, dispatched(), done, name=feed.split.name, size=feed.size)

    def _finish(self, writer: Writer, images: Split) -> None:
        bad = []
        for index in writer.unknown():
            reason = images.reason(index) or "could not be read when its turn came"
            bad.append((images.image_name(index), reason))
        if bad:
            others = f" and {len(bad) - _SHOWN} others" if len(bad) > _SHOWN else ""
            named = ", ".join(f"{name} ({reason})" for name, reason in bad[:_SHOWN])
            _LOG.info("left out of %s: %s%s", images.name, named, others)
        images.refuse_bad(images.bad)
        listed = [{"image": name, "reason": reason} for name, reason in bad]
        text = strict_json.dumps({"images": images.size, "unreadable": listed}, indent=1)
        with writing(self.folder, OTHER_FOLDER):
            replace_whole(writer.path.with_name(f"{writer.path.name}.json"), f"{text}\n")
        writer.finish()
