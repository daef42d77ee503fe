"""What the trajectory's golden and its test share: the recipe, and batches that are a function of the step."""

import zlib

import numpy as np

from tests.parity import parity_weights

WIDTH, SIZE, CLASSES, BATCH = 8, 12, 10, 16
STEPS_PER_EPOCH, EPOCHS, WARMUP_EPOCHS = 10, 10, 2
STEPS = STEPS_PER_EPOCH * EPOCHS
LEARNING_RATE, MOMENTUM = 0.5 * BATCH / 1024, 0.9
"""The rate in proportion to torchvision's 0.5 for 1,024 images."""
WEIGHT_DECAY = 1e-2
"""The decay is 500 times torchvision's, so that a hundred steps show which parameters are left out."""
WARMUP_START, LABEL_SMOOTHING = 0.01, 0.1
EMA_DECAY, EMA_STEPS = 0.98, 5
"""The decay is 0.84 when rescaled. An epoch's steps are a multiple of 5, because torchvision counts them anew in each
epoch, and ours do not."""


def batch(step: int) -> tuple[np.ndarray, np.ndarray]:
    """float32 images (batch, 3, height, width): noise over a pattern of the class; and int64 labels (batch,)."""
    labels = np.random.default_rng(zlib.crc32(f"labels {step}".encode())).integers(0, CLASSES, BATCH)
    patterns = parity_weights.images(CLASSES, SIZE, seed=3)
    return parity_weights.images(BATCH, SIZE, seed=1000 + step) + patterns[labels], labels


def numbers(name: str, array: np.ndarray) -> list[float]:
    """The norm of an array, and its product with the probe of its name over the probe's norm."""
    probe = parity_weights.probe(name, array.shape)
    return [float(np.linalg.norm(array)), float(np.vdot(array, probe) / np.linalg.norm(probe))]
