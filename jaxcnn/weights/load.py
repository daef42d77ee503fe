"""Loads pretrained weights: the names and layouts of others become Flax variables, and nothing may be left over."""

import functools
import logging
import math
import re
import types
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Literal

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from jaxcnn.models.network import Network
from jaxcnn.models.parts import ImageShape, Shapes, head_axes, initial, shapes_of
from jaxcnn.models.registry import create_model, get_variant
from jaxcnn.models.scanned import with_separate_blocks
from jaxcnn.models.variant import Rule, Variant
from jaxcnn.paths import expanded
from jaxcnn.types import Option, PyTree, Variables
from jaxcnn.weights.errors import FileError, WeightsError
from jaxcnn.weights.files import read_file
from jaxcnn.weights.layouts import members_of, separated, stacked
from jaxcnn.weights.mismatch import sentence
from jaxcnn.weights.published import find_published, is_published
from jaxcnn.weights.state_dicts import find_state, listing

_LOG = logging.getLogger(__name__)

Source = str | Path | Mapping[str, PyTree]
"""The name of published weights, the path of a file, or a mapping from names to arrays."""
Ignore = str | Iterable[str]
"""A pattern of the names of tensors that are left out of weights, or several."""
Classifier = Literal["taken", "fitting", "new"]
"""What becomes of the classifier of weights: it is ``taken``, and must have the network's number of classes; it is
taken where it is ``fitting``, and starts anew where it is not; or a ``new`` one is made in any case."""


def load_pretrained(
    name: str,
    source: Source,
    *,
    key: jax.Array | None = None,
    ignore: Ignore = (),
    new_classifier: bool = False,
    **options: Option,
) -> Variables:
    """Returns a network's variables, filled from pretrained weights.

    Every tensor of the source must fill a variable, and every variable must be filled by a tensor. There is one
    exception, where ``num_classes`` is given: a classifier of another number of classes is not taken but initialized
    anew, and so are the classifiers of auxiliary heads, as with ``new_classifier``. See `load_variables`.

    Args:
        name: one of ``jaxcnn.list_models()``.
        source: one of

            - the name of published weights, ``torchvision``, ``timm`` or ``lite0``, or ``torchvision/IMAGENET1K_V1``
              (see `jaxcnn.weights.published`), which are fetched when they are first asked for;
            - the path of a file that ``torch.save``, safetensors or `jaxcnn.weights.save` wrote, which is read without
              running anything (see `jaxcnn.weights.files`);
            - a mapping from names to arrays, or variables as ``init`` makes them.

            Names and layouts are PyTorch's (those of torchvision or timm; convolutions OIHW, dense layers OI), or ours:
            ``params/conv1/kernel``, with equal blocks stacked or separate (see `jaxcnn.weights.layouts`). The state
            dict is found under any key, beside anything else, and prefixes of wrappers are taken off its names: see
            `jaxcnn.weights.state_dicts.find_state`.
        key: for a classifier that is initialized anew; by default ``jax.random.key(0)``.
        ignore: patterns of the names of tensors that are left out: see `jaxcnn.weights.state_dicts.is_ignored`.
        new_classifier: whether the classifier is initialized anew where it has this number of classes too.
        **options: as for `create_model`.

    Returns:
        ``{"params": ..., "batch_stats": ...}``, float32, for ``create_model(name, **options).apply``.

    Raises:
        WeightsError: the file cannot be fetched or read; a name is left over, missing, or of another shape or dtype; or
            the published weights are of a network with other options than these, which would load and compute nonsense.
        ModelError: the name or an option is unknown.
    """
    model = create_model(name, **options)
    classifier: Classifier = "new" if new_classifier else "fitting" if "num_classes" in options else "taken"
    return load_variables(model, name, source, key=key, classifier=classifier, ignore=ignore)


def load_network(name: str, source: Source, *, ignore: Ignore = (), **options: Option) -> tuple[Network, Variables]:
    """Returns a network with as many classes as the weights have, and its variables.

    Args:
        name: one of ``jaxcnn.list_models()``.
        source: as for `load_pretrained`.
        ignore: as for `load_pretrained`.
        **options: as for `create_model`, without ``num_classes``.

    Raises:
        WeightsError: as for `load_pretrained`.
        ModelError: the name or an option is unknown, or there is no such network of that number of classes.
    """
    model, variant = create_model(name, **options), get_variant(name)
    shape = _image_shape(variant)
    wanted = shapes_of(with_separate_blocks(model), shape)
    state, rules = _read(model, variant, source, wanted, ignore)
    classes = _num_classes(state, rules, wanted, head_axes(model, shape, wanted))
    if classes not in (None, model.num_classes):
        _LOG.info("%s has %d classes, as the weights have", name, classes)
        model = create_model(name, num_classes=classes, **options)
        wanted = shapes_of(with_separate_blocks(model), shape)
    return model, _unflattened(stacked(convert(state, rules, wanted), shapes_of(model, shape)))


def load_variables(
    model: Network,
    name: str,
    source: Source,
    *,
    image_shape: ImageShape | None = None,
    key: jax.Array | None = None,
    classifier: Classifier = "fitting",
    ignore: Ignore = (),
) -> Variables:
    """Returns the variables of a network that is made already, filled from pretrained weights.

    A new classifier, and those of the auxiliary heads with it, are initialized as ``model.init(key, ...)`` would. The
    logger ``jaxcnn.weights.load`` says at level INFO whether the classifier is new; the commands print it.

    Args:
        model: what ``create_model(name, ...)`` made.
        name: the network's name in the registry, which knows its weight rules.
        source: as for `load_pretrained`.
        image_shape: (height, width, channels) of the images that the network is to take; by default the variant's own.
            The variables of some auxiliary heads depend on it.
        key: for a classifier that is initialized anew; by default ``jax.random.key(0)``.
        classifier: what becomes of the classifier of the weights.
        ignore: as for `load_pretrained`.

    Returns:
        ``{"params": ..., "batch_stats": ...}``, float32, for ``model.apply``.

    Raises:
        WeightsError: as for `load_pretrained`.
        ModelError: there is no network of that name.
    """
    variant = get_variant(name)
    shape = image_shape or _image_shape(variant)
    layout, model = shapes_of(model, shape), with_separate_blocks(model)
    wanted = shapes_of(model, shape)
    state, rules = _read(model, variant, source, wanted, ignore)
    head = head_axes(model, shape, wanted) if classifier != "taken" else {}
    found = convert(state, rules, wanted, head)
    because = ", because the weights have another number"
    if classifier == "new":
        because = ""
        if not head:
            raise WeightsError(
                f"{name} has no layer that depends on the number of classes, so no classifier that could start anew: "
                "leave new_classifier (finetune.new_head of a run) False"
            )
        found = {path: value for path, value in found.items() if path not in head}
    anew = sorted(wanted.keys() - found.keys())
    if anew:
        _LOG.info(
            "%s starts with a new classifier of %d classes%s: %s",
            *(name, model.num_classes, because, listing(anew)),
        )
    elif head:
        _LOG.info("%s starts with the classifier of %d classes that the weights have", name, model.num_classes)
    initial = _initialized(model, shape, jax.random.key(0) if key is None else key, anew) if anew else {}
    filled = {path: initial[path] if path in initial else found[path] for path in wanted}
    return _unflattened(stacked(filled, layout))


def variable_shapes(name: str, options: Mapping[str, Option]) -> Shapes:
    """Returns the shapes of the variables of ``create_model(name, **options)`` for images of the variant's own size.

    Raises:
        ModelError: the name or an option is unknown.
    """
    return shapes_of(create_model(name, **options), _image_shape(get_variant(name)))


def convert(
    state: Mapping[str, ArrayLike],
    rules: Iterable[Rule],
    wanted: Shapes,
    head: Mapping[str, int] = types.MappingProxyType({}),
) -> dict[str, np.ndarray]:
    """Renames and transposes a PyTorch state dict into variables.

    Args:
        state: the arrays by their names. ``num_batches_tracked`` counters are passed over, and so are auxiliary heads
            where the network is made without them.
        rules: a variant's weight rules; empty where the names and layouts are ours.
        wanted: the shapes of the variables, by their paths.
        head: the paths of the variables whose shape depends on the number of classes, and the axis that does. Their
            tensors are passed over if nothing but their size along that axis differs.

    Returns:
        Float32 arrays by their paths, without those passed over.

    Raises:
        WeightsError: names are left over on either side, a shape or dtype differs, or the rules contradict each other.
    """
    paths_of = renaming(rules)
    has_auxiliary_heads = any(map(_auxiliary, wanted))
    found: dict[str, np.ndarray] = {}
    passed_over, unknown = set(), []
    for name, tensor in state.items():
        if name.endswith("num_batches_tracked"):
            continue
        value = _on_host(tensor)
        paths = paths_of(name, value.ndim) if paths_of else {name}
        if len(paths) > 1:
            raise WeightsError(
                f"the weight rules give {name} to {' and to '.join(sorted(paths))}: let one rule alone match its module"
            )
        path = next(iter(paths), None)
        if path is not None and _auxiliary(path) and not has_auxiliary_heads:
            continue
        if path is None or path not in wanted or path in found or path in passed_over:
            unknown.append(name)
            continue
        if not jnp.issubdtype(value.dtype, jnp.floating):
            raise WeightsError(f"{name} holds {value.dtype}, not floating point: give weights that are not quantized")
        shape = wanted[path].shape
        arranged = _arranged(value, shape) if paths_of else value
        if arranged.shape == shape:
            found[path] = arranged.astype(np.float32)
        elif path in head and _without(arranged.shape, head[path]) == _without(shape, head[path]):
            passed_over.add(path)
        else:
            raise WeightsError(
                f"{name} has shape {value.shape}, which does not fit {path}, {shape}: make the network with the number "
                "of classes and the other options that the weights are for"
            )
    missing = sorted(wanted.keys() - found.keys() - passed_over)
    if unknown or missing:
        raise WeightsError(sentence(unknown, missing, [name for name in state if name not in unknown]))
    if passed_over and passed_over != head.keys():
        raise WeightsError(
            f"the classifiers of these weights have several numbers of classes: {listing(sorted(passed_over))} do not "
            f"fit the network and {listing(sorted(head.keys() - passed_over))} do; give weights of one number"
        )
    return found


def _read(
    model: Network, variant: Variant, source: Source, wanted: Shapes, ignore: Ignore
) -> tuple[Mapping[str, ArrayLike], tuple[Rule, ...]]:
    """Returns the arrays of a source by their names, and the rules for these names: none where they are ours."""
    if is_published(source):
        published = find_published(variant.name, source)
        published.check(model)
        source = published.path()
    by_rules = renaming(variant.rules)

    def paths_of(name: str, dimensions: int) -> set[str]:
        return by_rules(name, dimensions) if by_rules and "/" not in name else set(members_of(name))

    patterns = (ignore,) if isinstance(ignore, str) else tuple(ignore)
    find = functools.partial(find_state, paths_of=paths_of, wanted=wanted, ignore=patterns)
    if isinstance(source, Mapping):
        try:
            state = find(_flattened(source)) if source else {}
        except FileError as error:
            raise WeightsError(f"the mapping {error}") from None
    else:
        state = read_file(expanded(source), find)
    if any("/" in name for name in state):
        return separated(state), ()
    if not variant.rules:
        raise WeightsError(
            f"there are no published weights to load for {variant.name}: initialize it and train it, or give weights "
            "that jaxcnn saved"
        )
    return state, variant.rules


def _flattened(source: Mapping[str, PyTree]) -> Mapping[str, PyTree]:
    """Returns variables as Flax has them by their paths, and any other mapping as it is."""
    if not isinstance(source.get("params"), Mapping):
        return source
    flat = {"/".join(map(str, keys)): leaf for keys, leaf in flax.traverse_util.flatten_dict(source).items()}
    # Our names have no dots, and those of a network in PyTorch have some.
    return source if any("." in name for name in flat) else flat


def _unflattened(found: Mapping[str, ArrayLike]) -> Variables:
    return flax.traverse_util.unflatten_dict({path: jnp.asarray(value) for path, value in found.items()}, sep="/")


def _on_host(tensor: ArrayLike) -> np.ndarray:
    """Returns a tensor as NumPy's; one of PyTorch may be on a device, need a gradient, or be in bfloat16."""
    detach = getattr(tensor, "detach", None)
    if detach is not None:
        tensor = detach().cpu()
        tensor = tensor.float() if tensor.is_floating_point() else tensor
    return np.asarray(tensor)


def _num_classes(
    state: Mapping[str, ArrayLike], rules: Iterable[Rule], wanted: Shapes, head: Mapping[str, int]
) -> int | None:
    """Returns the number of classes that weights have by the size of their classifier; None if they have none."""
    paths_of = renaming(rules)
    for name, tensor in state.items():
        value = _on_host(tensor)
        for path in (paths_of(name, value.ndim) if paths_of else {name}) & head.keys():
            arranged = _arranged(value, wanted[path].shape) if paths_of else value
            if not _auxiliary(path) and arranged.ndim == len(wanted[path].shape):
                return arranged.shape[head[path]]
    return None


def _image_shape(variant: Variant) -> ImageShape:
    return variant.input_size, variant.input_size, variant.channels


def _initialized(model: Network, image_shape: ImageShape, key: jax.Array, paths: list[str]) -> dict[str, jax.Array]:
    """Returns some of a network's initial variables; under jit the others are never computed."""

    @jax.jit
    def initialize(key):
        variables = initial(model, image_shape, key)
        return {path: variables[path] for path in paths}

    return initialize(key)


def renaming(rules: Iterable[Rule]) -> Callable[[str, int], set[str]] | None:
    """Returns the function from a tensor's name in PyTorch, and its number of dimensions, to its paths by all rules.

    It is None where there are no rules, because the names are paths already.

    Raises:
        WeightsError: a rule is not a regular expression and a replacement for it.
    """
    patterns = []
    for rule in rules:
        try:
            pattern = re.compile(rule.pattern)
            pattern.sub(rule.replacement, "")  # fails if the replacement names a group that the pattern lacks
        except re.error as error:
            raise WeightsError(f"the weight rule {tuple(rule[:2])} cannot be used: {error}") from None
        patterns.append((pattern, rule.replacement))

    @functools.cache
    def modules_of(module: str) -> set[str]:
        matches = ((pattern.fullmatch(module), replacement) for pattern, replacement in patterns)
        return {match.expand(replacement) for match, replacement in matches if match}

    def paths_of(name: str, dimensions: int) -> set[str]:
        module, _, tensor = name.rpartition(".")
        match tensor:
            case "weight":
                collection, leaf = "params", "kernel" if dimensions > 1 else "scale"
            case "bias":
                collection, leaf = "params", "bias"
            case "layer_scale" | "gamma":  # torchvision's name, and that of timm and ConvNeXt's authors
                collection, leaf = "params", "layer_scale/scale"
            case "running_mean" | "running_var":
                collection, leaf = "batch_stats", tensor.removeprefix("running_")
            case _:
                return set()
        return {f"{collection}/{found}/{leaf}" for found in modules_of(module)}

    return paths_of if patterns else None


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return (*shape[:axis], -1, *shape[axis + 1 :])


def _auxiliary(path: str) -> bool:
    return "/auxiliary" in path


def _arranged(value: np.ndarray, wanted: tuple[int, ...]) -> np.ndarray:
    """Turns OIHW to HWIO, O11 (layer scales) to O, OI and OI11 to IO, and dense layers over CHW to convolutions."""
    match value.ndim, len(wanted):
        case 4, 2 if value.shape[2:] == (1, 1):
            return value[:, :, 0, 0].T
        case 2, 4 if value.shape == (wanted[3], math.prod(wanted[:3])):
            return value.reshape(wanted[3], wanted[2], *wanted[:2]).transpose(2, 3, 1, 0)
        case 4, _:
            return value.transpose(2, 3, 1, 0)
        case 3, _ if value.shape[1:] == (1, 1):
            return value[:, 0, 0]
        case 2, _:
            return value.T
    return value
