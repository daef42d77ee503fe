"""What a training step sees, as digests: `python tests/data/batch_digests.py FOLDER WORKERS STEPS [PROCESSES]`."""

import dataclasses
import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
import tyro
from jax.experimental.multihost_utils import process_allgather
from PIL import Image

from jaxcnn.assembly import Assembly, assemble
from jaxcnn.config import (
    ColorJitter,
    DataConfig,
    EvaluationConfig,
    HorizontalFlip,
    MixUpOrCutMix,
    ModelConfig,
    RandAugment,
    RandomErasing,
    RandomResizedCrop,
    Resize,
    TrainConfig,
)
from jaxcnn.data.pipeline import Split
from jaxcnn.devices.feed import Feed
from jaxcnn.devices.parallel import DataParallel
from jaxcnn.devices.processes import Processes

IMAGES, BATCH = 20, 8


def write_photographs(folder: Path) -> None:
    """Twenty training and two validation JPEG files, of two classes."""
    random = np.random.RandomState(0)
    for split, count in (("train", IMAGES), ("val", 2)):
        for index in range(count):
            target = folder / split / "ab"[index % 2] / f"{index:02}.jpg"
            target.parent.mkdir(parents=True, exist_ok=True)
            coarse = Image.fromarray(random.randint(0, 256, (5, 6, 3)).astype(np.uint8))
            coarse.resize((40 + index, 32), Image.Resampling.BICUBIC).save(target, quality=90)


def assembly_of(folder: Path, workers: int) -> Assembly:
    crops = {"train_crop": RandomResizedCrop(size=20), "evaluation_crop": Resize(size=20)}
    config = TrainConfig(
        model=ModelConfig(name="resnet20_cifar"),
        data=DataConfig(name=f"folder:{folder}", batch_size=BATCH, workers=workers, **crops),
        augmentations=(HorizontalFlip(), RandAugment(), ColorJitter(), RandomErasing(probability=0.5), MixUpOrCutMix()),
        evaluation=EvaluationConfig(top_k=(1,)),
    )
    return assemble(dataclasses.replace(config, seed=5))


def digests(
    prepare: jax.stages.Wrapped, split: Split, first_step: int, last_step: int, parallel: DataParallel
) -> Iterator[tuple[str, str]]:
    """Yields, for each step, the digest of the whole batch, and that of the augmented images and targets.

    Args:
        prepare: an assembly's ``prepare``, jitted.
        split: the split to train on.
        first_step: the step to begin with.
        last_step: the step to end before.
        parallel: the devices.
    """
    for batch in Feed(split, parallel, BATCH, seed=5).training(first_step, last_step):
        whole, arrays = process_allgather((batch, prepare(batch)), tiled=True)
        yield tuple(
            hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in each)).hexdigest()
            for each in ([whole[name] for name in sorted(whole)], arrays)
        )


if __name__ == "__main__":
    folder, workers, steps, *processes = sys.argv[1:]
    with tyro.cli(Processes, args=processes).joined():
        assembly, over_all = assembly_of(Path(folder), int(workers)), DataParallel.over_all_devices()
        for pair in digests(jax.jit(assembly.prepare), assembly.data.train, 0, int(steps), over_all):
            print(*pair)
