"""The images a second of the input stream, beside those of tf.data and PyTorch's DataLoader from the same files."""

import dataclasses
import io
import itertools
import json
import statistics
import sys
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from jaxcnn.benchmarks.pytorch import torchvision_part
from jaxcnn.benchmarks.rounds import Rounds
from jaxcnn.config import CenterCrop, DataConfig, RandomResizedCrop
from jaxcnn.contenders import commands_of, race, serve
from jaxcnn.data.opening import open_data
from jaxcnn.data.pack import pack
from jaxcnn.data.stream import available_cores
from jaxcnn.errors import UserError

SIZE = 224
BATCH = 64
SHORT_SIDE = 256
_RANDOM_CROP = RandomResizedCrop(size=SIZE)

CONTENDERS = {
    "jaxcnn": "JPEG from ArrayRecord, random resized crop, batches of uint8 on the host",
    "jaxcnn_processes": "the same, decoded and cut by one process a core",
    "jaxcnn_device": "the same as jaxcnn, copied to the device",
    "jaxcnn_augmented": "the same, mirrored by chance and normalized there",
    "jaxcnn_packed": f"the packed raw copy, its {SHORT_SIDE}-pixel centre squares on the host",
    "jaxcnn_packed_device": "the same, random resized crop, mirror and normalization on the device",
    "tf_data": "JPEG from TFRecord, AUTOTUNE, decode_and_crop_jpeg, bilinear without antialiasing, uint8",
    "tf_data_accurate": "the same, decoded to the pixels that ours decodes to; TensorFlow's default is coarser",
    "dataloader": "PyTorch's DataLoader, one process a core, torchvision: random resized crop, mirror, normalization",
    "dataloader_uint8": "the same without mirror and normalization",
}


@dataclasses.dataclass(frozen=True)
class Corpus:
    """The same images in the form that each contender reads."""

    files: str
    """The folder of the image files, ``train/CLASS/*.jpg``."""
    data_dir: str
    """The folder in which tfds keeps the copies."""
    jpeg: str
    """The copy with JPEG files, as ``data.name`` names it."""
    raw: str
    """The copy with arrays of pixels, as ``data.name`` names it."""


def photograph(random: np.random.RandomState, height: int, width: int) -> np.ndarray:
    """Returns 1/f noise, uint8 (height, width, 3), which takes as long to decode as a photograph of that size."""
    spectrum = np.fft.rfft2(random.standard_normal((3, height, width)))
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    radius[0, 0] = 1 / max(height, width)
    noise = np.fft.irfft2(spectrum / radius**1.2, s=(height, width))
    image = 0.8 * noise.mean(0) + 0.3 * noise
    return (255 * (image - image.min()) / np.ptp(image)).astype(np.uint8).transpose(1, 2, 0)


def make_corpus(folder: Path, images: int) -> Corpus:
    """Writes 500x375 JPEG images of about 60 kB, four in five landscape, of two classes, and their tfds copies."""
    random = np.random.RandomState(0)
    for split, count in (("train", images), ("val", 2)):
        for index in range(count):
            target = folder / "files" / split / "ab"[index % 2] / f"{index:05}.jpg"
            target.parent.mkdir(parents=True, exist_ok=True)
            shape = (375, 500) if index % 5 else (500, 375)
            file = io.BytesIO()
            Image.fromarray(photograph(random, *shape)).save(file, "JPEG", quality=92)
            target.write_bytes(file.getvalue())
    name, data_dir = f"folder:{folder / 'files'}", str(folder / "tfds")
    # Images that are small enough already are copied as they are.
    jpeg = pack(name, 500, format="jpeg", data_dir=data_dir, packed_name="speed_jpeg")
    raw = pack(name, SHORT_SIDE, format="raw", data_dir=data_dir, packed_name="speed_raw")
    return Corpus(str(folder / "files"), data_dir, jpeg.name, raw.name)


def time_input(corpus: Corpus, contenders: list[str], *, rounds: int, batches: int) -> Rounds[str]:
    """Returns each contender's images a second in each round; as a mapping, the median by contender.

    Args:
        corpus: the images, as `make_corpus` returns them.
        contenders: names of `CONTENDERS`.
        rounds: the turns that each takes.
        batches: the batches of 64 images in a turn.

    Raises:
        UserError: there is no such contender, or one cannot run here; the last line of its error is quoted.
    """
    commands = commands_of(__name__, contenders, CONTENDERS, dataclasses.asdict(corpus))
    taken = race(commands, rounds=rounds, steps=batches, warm_up=batches)
    return Rounds(taken).map(lambda seconds: BATCH / seconds)


@dataclasses.dataclass(frozen=True)
class ThreadCost:
    """What our stream of JPEG files delivers, and costs, with a number of threads."""

    threads: int
    images_per_second: float
    processor_seconds: float
    """The time of an image on a core, over all threads, in seconds."""

    def cores(self, images_per_second: float) -> float:
        """Returns how many cores as busy as these deliver so many images a second.

        Examples:
            >>> ThreadCost(threads=2, images_per_second=1800.0, processor_seconds=0.001).cores(8000)
            8.0
        """
        return images_per_second * self.processor_seconds


@dataclasses.dataclass(frozen=True)
class ProcessRate:
    """What our stream of JPEG files delivers with a number of processes that decode and cut."""

    processes: int
    images_per_second: float
    feeding_seconds: float
    """The time of an image on a core in the process that feeds them, over all its threads, in seconds."""


def time_threads(corpus: Corpus, threads: Iterable[int], *, rounds: int, batches: int) -> list[ThreadCost]:
    """Returns what the contender ``jaxcnn`` delivers and costs with each number of threads, medians over rounds.

    Args:
        corpus: the images, as `make_corpus` returns them.
        threads: numbers of threads, which take turns in this process.
        rounds: the turns that each takes.
        batches: the batches of 64 images in a turn; as many come before, which are not timed.

    Raises:
        UserError: a number of threads is below 1.
    """
    counts = _counts("threads", threads)
    taken = _taken(corpus, "workers", counts, rounds=rounds, batches=batches)
    return [ThreadCost(count, 1 / wall, processor) for count, (wall, processor) in taken.items()]


def time_processes(corpus: Corpus, processes: Iterable[int], *, rounds: int, batches: int) -> list[ProcessRate]:
    """Returns what the contender ``jaxcnn`` delivers with each number of processes; see `time_threads`.

    Raises:
        UserError: a number of processes is below 1.
    """
    counts = _counts("processes", processes)
    taken = _taken(corpus, "processes", counts, rounds=rounds, batches=batches)
    return [ProcessRate(count, 1 / wall, feeding) for count, (wall, feeding) in taken.items()]


def _counts(option: str, counts: Iterable[int]) -> list[int]:
    counts = list(counts)
    if min(counts, default=1) < 1:
        raise UserError(f"--{option} is {min(counts)}: give numbers of {option} from 1 on")
    return counts


def _taken(
    corpus: Corpus, option: Literal["workers", "processes"], counts: Sequence[int], *, rounds: int, batches: int
) -> dict[int, tuple[float, float]]:
    """Returns the seconds of an image, and those of this process's cores, by an option of `DataConfig`: medians."""
    taken: dict[int, list[tuple[float, float]]] = {count: [] for count in counts}
    for _ in range(rounds):
        for count, turns in taken.items():
            with closing(_batches(corpus, packed=False, **{option: count})) as stream:
                # What is read ahead when the clock starts is made up for by what is read ahead when it stops.
                for _ in itertools.islice(stream, batches):
                    pass
                wall, processor = time.perf_counter(), time.process_time()
                for _ in itertools.islice(stream, batches):
                    pass
                turns.append((time.perf_counter() - wall, time.process_time() - processor))
    images = batches * BATCH
    medians = {count: [statistics.median(each) for each in zip(*turns, strict=True)] for count, turns in taken.items()}
    return {count: (wall / images, processor / images) for count, (wall, processor) in medians.items()}


def _batches(
    corpus: Corpus, *, packed: bool, workers: int | None = None, processes: int = 0
) -> Generator[dict[str, np.ndarray]]:
    center = CenterCrop(size=SHORT_SIDE, resize=SHORT_SIDE)
    config = DataConfig(
        name=corpus.raw if packed else corpus.jpeg,
        data_dir=corpus.data_dir,
        train_crop=center if packed else _RANDOM_CROP,
        evaluation_crop=center,
        residence="stream",
        workers=workers,
        processes=processes,
    )
    yield from open_data(config).train.training_batches(0, BATCH, 0, 1 << 30)


def _ours(corpus: Corpus, packed: bool, device: bool, augmented: bool, processes: int) -> Iterator[object]:
    batches = _batches(corpus, packed=packed, processes=processes)
    if not device:
        return batches

    import jax
    import jax.numpy as jnp

    from jaxcnn.augment.compose import augment
    from jaxcnn.config import HorizontalFlip, Normalization
    from jaxcnn.devices.feed import Batch

    steps = ((_RANDOM_CROP,) if packed else ()) + (HorizontalFlip(),)

    @jax.jit
    def finish(batch: Batch) -> tuple[jax.Array, jax.Array]:
        keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(0), batch["position"])
        return augment(keys, batch["image"], batch["label"], steps, Normalization(), 2)

    def placed() -> Iterator[object]:
        for batch in batches:
            batch = jax.tree.map(jnp.asarray, batch)
            yield jax.block_until_ready(finish(batch) if augmented else batch)

    return placed()


def _tf_data(corpus: Corpus, dct_method: str) -> Iterable[object]:
    try:
        import tensorflow as tf
    except ImportError:
        raise UserError(
            "TensorFlow is not installed: install jaxcnn with the extra tf to compare with tf.data"
        ) from None
    records = Path(corpus.data_dir) / "speed.tfrecord"
    with tf.io.TFRecordWriter(str(records)) as writer:
        for file in sorted(Path(corpus.files, "train").glob("*/*")):
            label = int(file.parent.name == "b")
            features = {
                "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[file.read_bytes()])),
                "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
            }
            writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())

    def load(record: object) -> tuple[object, object]:
        features = {"image": tf.io.FixedLenFeature([], tf.string), "label": tf.io.FixedLenFeature([], tf.int64)}
        example = tf.io.parse_single_example(record, features)
        begin, size, _ = tf.image.sample_distorted_bounding_box(
            tf.io.extract_jpeg_shape(example["image"]),
            tf.constant([0.0, 0.0, 1.0, 1.0], shape=[1, 1, 4]),
            min_object_covered=0.0,
            area_range=(0.08, 1.0),
            aspect_ratio_range=(3 / 4, 4 / 3),
            max_attempts=10,
            use_image_if_no_bounding_boxes=True,
        )
        box = tf.concat([begin[:2], size[:2]], 0)
        image = tf.image.decode_and_crop_jpeg(example["image"], box, channels=3, dct_method=dct_method)
        return tf.cast(tf.image.resize(image, (SIZE, SIZE)), tf.uint8), example["label"]

    stream = tf.data.TFRecordDataset(str(records)).repeat().shuffle(256, seed=0)
    return stream.map(load, num_parallel_calls=tf.data.AUTOTUNE).batch(BATCH).prefetch(tf.data.AUTOTUNE)


def _dataloader(corpus: Corpus, normalized: bool) -> Iterator[object]:
    try:
        import torch

        datasets, transforms = (torchvision_part(f"torchvision.{part}") for part in ("datasets", "transforms"))
    except ImportError:
        raise UserError("PyTorch is not installed: install torch and torchvision to compare with DataLoader") from None
    torch.set_num_threads(1)
    steps = [transforms.RandomResizedCrop(SIZE)]
    if normalized:
        steps += [
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    else:
        steps += [transforms.PILToTensor()]
    images = datasets.ImageFolder(f"{corpus.files}/train", transforms.Compose(steps))
    loader = torch.utils.data.DataLoader(
        images,
        BATCH,
        shuffle=True,
        num_workers=available_cores(),
        drop_last=True,
        persistent_workers=True,
        prefetch_factor=2,
    )
    return (batch for _ in itertools.count() for batch in loader)


def _open(name: str, corpus: Corpus) -> Iterator[object]:
    match name:
        case "tf_data":
            return iter(_tf_data(corpus, ""))
        case "tf_data_accurate":
            return iter(_tf_data(corpus, "INTEGER_ACCURATE"))
        case "dataloader" | "dataloader_uint8":
            return _dataloader(corpus, normalized=name == "dataloader")
    return _ours(
        corpus,
        packed="packed" in name,
        device="device" in name or "augmented" in name,
        augmented=name in ("jaxcnn_augmented", "jaxcnn_packed_device"),
        processes=available_cores() if name == "jaxcnn_processes" else 0,
    )


if __name__ == "__main__":
    stream = _open(sys.argv[1], Corpus(**json.loads(sys.argv[2])))

    def run(steps: int) -> None:
        """Takes this many batches."""
        for _ in itertools.islice(stream, steps):
            pass

    serve(run)
