"""Pretrained weights in: PyTorch names and layouts to Flax variables, strictly."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.models.registry import create_model, get_variant
from jaxcnn.weights.errors import WeightsError
from jaxcnn.weights.files import read_file
from jaxcnn.weights.rules import Rule, rules_of


def load_pretrained(name: str, source: str | Path | Mapping[str, Any], **options: Any) -> dict[str, Any]:
    """Returns a network's variables, filled from PyTorch's.

    Args:
        name: one of ``jaxcnn.list_models()``.
        source: a ``.safetensors`` file, or a mapping from PyTorch's names (torchvision's) to arrays in PyTorch's
            layouts (convolutions OIHW, dense layers OI).
        **options: as for `create_model`.

    Returns:
        ``{"params": ..., "batch_stats": ...}``, float32, for ``create_model(name, **options).apply``.

    Raises:
        WeightsError: the file is not a safetensors file, or a key is left over, missing or of another shape,
            or there are no published weights of the network.
        ModelError: the name or an option is unknown.
    """
    variant = get_variant(name)
    model = create_model(name, **options)
    rules = rules_of(variant)
    if not rules:
        raise WeightsError(f"there are no published weights to load for {name}: initialize it, and train it")
    images = jax.ShapeDtypeStruct((1, variant.input_size, variant.input_size, variant.channels), jnp.float32)
    target = jax.eval_shape(lambda key, images: model.init(key, images, train=False), jax.random.key(0), images)
    state = source if isinstance(source, Mapping) else read_file(Path(source))
    return convert(state, rules, target)


def convert(state: Mapping[str, Any], rules: tuple[Rule, ...], target: Mapping[str, Any]) -> dict[str, Any]:
    """Renames and transposes a PyTorch state dict into a tree of variables.

    Args:
        state: name to array. ``num_batches_tracked`` counters are passed over, and auxiliary heads where the network
            is made without.
        rules: see `jaxcnn.weights.rules`.
        target: the variables wanted: a tree whose leaves have a shape.

    Returns:
        The tree, every leaf float32.

    Raises:
        WeightsError: listing what is left over on both sides, or the first shape that differs.
    """
    wanted = flax.traverse_util.flatten_dict(target, sep="/")
    has_auxiliary_heads = any(map(_auxiliary, wanted))
    found: dict[str, np.ndarray] = {}
    unknown = []
    for key, value in state.items():
        if key.endswith("num_batches_tracked"):
            continue
        value = np.asarray(value)
        places = {place for rule in rules if (place := _place(key, value, rule))}
        if len(places) == 1 and _auxiliary(*places) and not has_auxiliary_heads:
            continue
        if len(places) != 1 or (place := places.pop()) not in wanted or place in found:
            unknown.append(key)
            continue
        arranged = _arranged(value, wanted[place].shape)
        if arranged.shape != wanted[place].shape:
            raise WeightsError(f"{key} has shape {value.shape}, which does not fit {place}, {wanted[place].shape}")
        found[place] = arranged.astype(np.float32)
    missing = sorted(wanted.keys() - found.keys())
    if unknown or missing:
        raise WeightsError(
            "these are weights of another network: "
            f"without a place in it {_listing(unknown)}; not filled by them {_listing(missing)}"
        )
    return flax.traverse_util.unflatten_dict({key: jnp.asarray(found[key]) for key in wanted}, sep="/")


def _place(key: str, value: np.ndarray, rule: Rule) -> str | None:
    """Where one PyTorch key goes under one rule: ``params/conv1/kernel``."""
    module, _, leaf = key.rpartition(".")
    match = re.fullmatch(rule.pattern, module)
    if not match:
        return None
    leaves = {
        "weight": ("params", "kernel" if value.ndim > 1 else "scale"),
        "bias": ("params", "bias"),
        "running_mean": ("batch_stats", "mean"),
        "running_var": ("batch_stats", "var"),
        "layer_scale": ("params", "layer_scale/scale"),
    }
    if leaf not in leaves:
        return None
    collection, ours = leaves[leaf]
    return f"{collection}/{match.expand(rule.replacement)}/{ours}"


def _auxiliary(place: str) -> bool:
    return place.split("/")[1].startswith("auxiliary")


def _arranged(value: np.ndarray, wanted: tuple[int, ...]) -> np.ndarray:
    """OIHW to HWIO, O11 (a layer scale) to O, OI to IO; and a dense layer over flattened (C, H, W) to a convolution."""
    match value.ndim, len(wanted):
        case 2, 4 if value.shape == (wanted[3], math.prod(wanted[:3])):
            return value.reshape(wanted[3], wanted[2], *wanted[:2]).transpose(2, 3, 1, 0)
        case 4, _:
            return value.transpose(2, 3, 1, 0)
        case 3, _ if value.shape[1:] == (1, 1):
            return value[:, 0, 0]
        case 2, _:
            return value.T
    return value


def _listing(names: list[str]) -> str:
    if not names:
        return "nothing"
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
