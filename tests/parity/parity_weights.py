"""Deterministic weights for parity checks: a pure function of a parameter's name and shape.

The same numbers can be made beside any framework, so a fixture need hold only names, shapes and the
reference's outputs. Names and shapes are those of the reference's own state dict (PyTorch layout:
conv OIHW, linear OI).
"""

import zlib

import numpy as np


def weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """float32 array for the parameter or buffer `name` of `shape`."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    leaf = name.rsplit(".", 1)[-1]
    if leaf == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    if leaf == "running_mean":
        value = 0.1 * rng.standard_normal(shape)
    elif leaf == "running_var":
        value = rng.uniform(0.5, 1.5, shape)
    elif leaf == "bias":
        value = 0.1 * rng.standard_normal(shape)
    elif len(shape) >= 2 and leaf != "layer_scale":
        fan_in = int(np.prod(shape[1:]))
        value = rng.standard_normal(shape) * np.sqrt(2.0 / fan_in)
    else:  # norm scales and layer scales
        value = rng.uniform(0.5, 1.5, shape)
    return value.astype(np.float32)


def images(batch: int, size: int, channels: int = 3, seed: int = 7) -> np.ndarray:
    """float32 NCHW inputs of shape (batch, channels, size, size), roughly unit variance."""
    return np.random.default_rng(seed).standard_normal((batch, channels, size, size)).astype(np.float32)


def probe(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """float32 array of a parameter's shape, to multiply its gradient with: tells positions apart."""
    return np.random.default_rng(zlib.crc32(f"probe {name}".encode())).standard_normal(shape).astype(np.float32)
