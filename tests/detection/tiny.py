"""A split of shapes on grey, a network that has learnt nothing, and the options of a detector that takes seconds."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.config import SGD, DataConfig, Normalization, Resize
from jaxcnn.config.detection import DetectorConfig, NetworkSource, RCNNConfig, ScenesOf, TuningConfig, WarpConfig
from jaxcnn.config.finetune import FinetuneConfig
from jaxcnn.detection.annotations import AnnotatedImage, AnnotatedSplit, Objects
from jaxcnn.models.lenet import LeNet
from jaxcnn.trained import Trained

SIZE, CLASSES = 16, ("dark", "light")


def scene(seed):
    """Two squares on grey, one dark and one light, with their boxes."""
    rng = np.random.RandomState(seed)
    image = rng.randint(90, 110, (40, 48, 3)).astype(np.uint8)
    boxes = []
    for left, level in ((rng.randint(0, 8), 5), (rng.randint(24, 32), 250)):
        top, side = rng.randint(0, 20), rng.randint(10, 16)
        image[top : top + side, left : left + side] = level
        boxes.append([left, top, left + side, top + side])
    return image, Objects.of(boxes, [0, 1])


def split(count=4, seed=0):
    images = []
    for index in range(count):
        pixels, objects = scene(seed + index)
        images.append(AnnotatedImage(f"{index}.png", index + 1, 48, 40, objects, lambda pixels=pixels: pixels))
    return AnnotatedSplit("made", CLASSES, (1, 2), images)


def proposals(count=4, each=12, seed=0):
    """Boxes at random, some of them near the objects."""
    found = []
    for index, image in enumerate(split(count, seed).images):
        rng = np.random.RandomState(100 + seed + index)
        corner = rng.uniform(0, 25, (each, 2))
        apart = np.concatenate([corner, corner + rng.uniform(8, 15, (each, 2))], 1)
        near = image.objects.boxes + rng.uniform(-2, 2, (2, 4))
        found.append(np.concatenate([near, apart]).astype(np.float32))
    return found


def network(channels=3):
    model = LeNet(num_classes=5)
    variables = model.init(jax.random.key(0), jnp.zeros((1, SIZE, SIZE, channels)), train=False)
    crop = Resize(size=SIZE)
    data = DataConfig(channels=channels, train_crop=crop, evaluation_crop=crop)
    normalization = Normalization(mean=(0.4,) * channels, std=(0.3,) * channels)
    return Trained(model, jax.device_get(variables), 5, None, data, normalization)


def config(**options):
    trained = network()
    tuning = TuningConfig(
        steps=6,
        objects=8,
        backgrounds=24,
        optimizer=SGD(learning_rate=0.05, momentum=0.9),
        finetune=FinetuneConfig(),
    )
    rcnn = dataclasses.replace(RCNNConfig(tuning=tuning, warp=WarpConfig(context=2)), **options)
    return DetectorConfig(
        source=NetworkSource("made"),
        weights_sha256="0",
        size=SIZE,
        channels=3,
        normalization=trained.normalization,
        layer="dense2",
        data=ScenesOf(name="made"),
        rcnn=rcnn,
    )
