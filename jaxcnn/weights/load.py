"""Pretrained weights in: somebody's names and layouts to Flax variables, strictly."""

import functools
import logging
import math
import re
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.errors import UserError
from jaxcnn.models.registry import create_model, get_variant
from jaxcnn.weights.errors import WeightsError
from jaxcnn.weights.files import read_file
from jaxcnn.weights.published import find_published, is_published
from jaxcnn.weights.rules import Rule, rules_of

_LOG = logging.getLogger(__name__)


def load_pretrained(
    name: str, source: str | Path | Mapping[str, Any], *, key: jax.Array | None = None, **options: Any
) -> dict[str, Any]:
    """Returns a network's variables, filled from somebody's weights.

    Every tensor of the source must have its place, and every variable its tensor. One thing may differ, where
    ``num_classes`` is given: a classifier (and auxiliary classifier) of another number of classes is not taken but
    initialized, as ``create_model(name, **options).init(key, ...)`` would. The logger ``jaxcnn.weights.load`` says so
    at level INFO, which the commands print.

    Args:
        name: one of ``jaxcnn.list_models()``.
        source: the name of published weights, ``torchvision``, ``timm`` or ``lite0``, or ``torchvision/IMAGENET1K_V1``
            (see `jaxcnn.weights.published`), fetched where they are not yet; or a file that ``torch.save`` or
            safetensors wrote, read without running anything (see `jaxcnn.weights.files`); or a mapping from names to
            arrays. Names and layouts are PyTorch's (torchvision's or timm's; convolutions OIHW, dense layers OI), or
            ours: ``params/conv1/kernel``, as ``jaxcnn convert`` writes.
        key: for a classifier of another number of classes; by default ``jax.random.key(0)``.
        **options: as for `create_model`.

    Returns:
        ``{"params": ..., "batch_stats": ...}``, float32, for ``create_model(name, **options).apply``.

    Raises:
        WeightsError: the file cannot be had or read; a name is left over, missing, or of another shape or dtype; or
            published weights are of a network with other options than these, which would load and compute nonsense.
        ModelError: the name or an option is unknown.
    """
    variant, wanted = get_variant(name), variable_shapes(name, options)
    if is_published(source):
        published = find_published(name, source)
        published.check_options(options)
        source = published.path()
    state = source if isinstance(source, Mapping) else read_file(Path(source))
    rules = rules_of(variant)
    if any("/" in place for place in state):
        rules = ()
    elif not rules:
        raise WeightsError(f"there are no published weights to load for {name}: initialize it, and train it")
    head = _head(name, options, wanted) if "num_classes" in options else {}
    found = convert(state, rules, wanted, head)
    anew = sorted(wanted.keys() - found.keys())
    if anew:
        _LOG.info("%s starts with a new classifier of %d classes: %s", name, options["num_classes"], _listing(anew))
        found |= _initialized(name, options, jax.random.key(0) if key is None else key, anew)
    return flax.traverse_util.unflatten_dict({place: jnp.asarray(found[place]) for place in wanted}, sep="/")


def _init(name: str, options: Mapping[str, Any], key: jax.Array) -> dict[str, jax.Array]:
    """A network's initial variables, by their places."""
    variant = get_variant(name)
    images = jnp.zeros((1, variant.input_size, variant.input_size, variant.channels))
    variables = create_model(name, **options).init(key, images, train=False)
    return flax.traverse_util.flatten_dict(variables, sep="/")


def variable_shapes(name: str, options: Mapping[str, Any]) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns the shapes of a network's variables, by their places: ``params/conv1/kernel``."""
    return jax.eval_shape(functools.partial(_init, name, options), jax.random.key(0))


def _head(name: str, options: Mapping[str, Any], wanted: Mapping[str, jax.ShapeDtypeStruct]) -> dict[str, int]:
    """Where the number of classes shows: the places whose shapes depend on it, each with the axis that does."""
    try:
        others = variable_shapes(name, {**options, "num_classes": options["num_classes"] + 1})
    except UserError:  # a network of one number of classes alone
        return {}
    pairs = {place: zip(wanted[place].shape, others[place].shape, strict=True) for place in wanted}
    axes = {place: [axis for axis, (size, other) in enumerate(pair) if size != other] for place, pair in pairs.items()}
    return {place: found[0] for place, found in axes.items() if found}


def _initialized(name: str, options: Mapping[str, Any], key: jax.Array, places: list[str]) -> dict[str, jax.Array]:
    """Some of a network's initial variables; under jit the others are never computed."""

    @jax.jit
    def initialize(key):
        variables = _init(name, options, key)
        return {place: variables[place] for place in places}

    return initialize(key)


def convert(
    state: Mapping[str, Any],
    rules: tuple[Rule, ...],
    wanted: Mapping[str, Any],
    head: Mapping[str, int] = types.MappingProxyType({}),
) -> dict[str, np.ndarray]:
    """Renames and transposes a PyTorch state dict into variables.

    Args:
        state: name to array. ``num_batches_tracked`` counters are passed over, and auxiliary heads where the network
            is made without.
        rules: see `jaxcnn.weights.rules`; empty where the names and layouts are ours.
        wanted: the variables, by their places (``params/conv1/kernel``); each has a shape.
        head: places whose tensors are passed over if nothing but their size along an axis differs, and these axes.

    Returns:
        Float32 arrays by their places: all but those passed over.

    Raises:
        WeightsError: listing what is left over on both sides, or the first shape or dtype that differs.
    """
    has_auxiliary_heads = any(map(_auxiliary, wanted))
    found: dict[str, np.ndarray] = {}
    passed_over, unknown = set(), []
    for key, value in state.items():
        if key.endswith("num_batches_tracked"):
            continue
        value = np.asarray(value)
        places = {place for rule in rules if (place := _place(key, value, rule))} if rules else {key}
        if len(places) == 1 and _auxiliary(*places) and not has_auxiliary_heads:
            continue
        if len(places) != 1 or (place := places.pop()) not in wanted or place in found:
            unknown.append(key)
            continue
        if not jnp.issubdtype(value.dtype, jnp.floating):
            raise WeightsError(f"{key} holds {value.dtype}, not floating point: give weights that are not quantized")
        shape = wanted[place].shape
        arranged = _arranged(value, shape) if rules else value
        if arranged.shape == shape:
            found[place] = arranged.astype(np.float32)
        elif place in head and _without(arranged.shape, head[place]) == _without(shape, head[place]):
            passed_over.add(place)
        else:
            raise WeightsError(f"{key} has shape {value.shape}, which does not fit {place}, {shape}")
    missing = sorted(wanted.keys() - found.keys() - passed_over)
    if unknown or missing:
        raise WeightsError(
            "these are weights of another network: "
            f"without a place in it {_listing(unknown)}; not filled by them {_listing(missing)}"
        )
    return found


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return (*shape[:axis], -1, *shape[axis + 1 :])


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
    return "/auxiliary" in place


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
