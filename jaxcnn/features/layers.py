"""The layers of a network by name: what they are called, what they put out, and a function that computes some of them.

A layer is a module, and its output is called by the module's path: ``stage4_block1/conv2``. Of a dense layer the input
has a name too, ``head/dense:input``: it is what a network knows of an image just before it names a class. ``last_map``
is what a network gives to `Network.last_map`: with the activation that may follow its last module.
"""

import collections
import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp

from jaxcnn.augment.compose import normalize
from jaxcnn.config import Normalization
from jaxcnn.config.features import Pooling
from jaxcnn.errors import UserError, nearest
from jaxcnn.models.network import Network
from jaxcnn.types import Variables

_COLLECTION = "features"
_OUTPUT, _INPUT, _LAST = "output:", "input:", "last:"
"""The names under which modules put these into the collection: no module is called so."""
LOGITS = "logits"
"""The name of the network's own output."""
LAST_MAP = Network.last_map.__name__
"""The name of the map that a network makes its logits of."""
POOLS: dict[Pooling, Callable[[jax.Array], jax.Array]] = {
    "none": lambda x: x,
    "average": lambda x: x.mean((1, 2)),
    "max": lambda x: x.max((1, 2)),
}


class Layer(NamedTuple):
    """What a layer puts out for one image."""

    name: str
    shape: tuple[int, ...]
    """The shape: (height, width, channels) of a map, (values,) else."""

    def pooled(self, pooling: Pooling) -> tuple[int, ...]:
        """Returns the shape that pooling leaves."""
        return self.shape if pooling == "none" or len(self.shape) != 3 else self.shape[-1:]


def layers_of(model: nn.Module, variables: Variables, image_shape: tuple[int, ...]) -> list[Layer]:
    """Returns all layers, in the order in which they are computed; computes nothing.

    Args:
        model: the network.
        variables: its variables, or their shapes.
        image_shape: the (height, width, channels) of its images.
    """
    images = jax.ShapeDtypeStruct((2, *image_shape), jnp.float32)
    order: list[str] = []
    found = jax.eval_shape(lambda variables, images: _outputs(model, variables, images, order), variables, images)
    return [Layer(name, found[name].shape[1:]) for name in dict.fromkeys(order) if name in found]


def choose(layers: Sequence[Layer], pattern: str | None) -> tuple[Layer, ...]:
    """Returns the layers whose whole names match a regular expression.

    Args:
        layers: all layers of a network.
        pattern: the expression; None for the input of the last dense layer.

    Raises:
        UserError: no layer matches, or the expression is none.
    """
    if pattern is None:
        inputs = [layer for layer in layers if layer.name.endswith(":input")]
        if not inputs:
            raise UserError("this network has no dense layer whose input could be taken: name a layer with --layer")
        return (inputs[-1],)
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise UserError(
            f"--layer {pattern!r} is not a regular expression ({error}): write it as Python's re takes it"
        ) from None
    chosen = tuple(layer for layer in layers if expression.fullmatch(layer.name))
    if not chosen:
        raise UserError(
            f"there is no layer {pattern!r} in this network: {nearest(pattern, [layer.name for layer in layers])} "
            "--layer list shows all of them"
        )
    return chosen


def extractor(
    model: nn.Module, normalization: Normalization, names: Sequence[str], pooling: Pooling
) -> Callable[[Variables, jax.Array], dict[str, jax.Array]]:
    """Returns a pure function from variables and uint8 images (batch, height, width, channels) to float32 features.

    The features of a layer are (batch, values) or, of a map that is not pooled, (batch, height, width, channels). What
    is computed only for other layers, the compiler leaves out.

    Args:
        model: the network.
        normalization: the normalization of its images.
        names: the names of the layers.
        pooling: what becomes of a layer's map.
    """

    def features(variables: Variables, images: jax.Array) -> dict[str, jax.Array]:
        found = _outputs(model, variables, normalize(images, normalization), [])
        wanted = {name: found[name].astype(jnp.float32) for name in names}
        return {name: POOLS[pooling](x) if x.ndim == 4 else x for name, x in wanted.items()}

    return features


def changeable(
    model: nn.Module, normalization: Normalization, name: str
) -> Callable[[Variables, jax.Array, jax.Array], tuple[jax.Array, jax.Array]]:
    """Returns a pure function from variables, images and a change of a layer to logits and that layer's output.

    The change is added to what the layer puts out, and what comes after it sees the sum. So the gradient with respect
    to a change of zeros is the gradient with respect to the output. Both results are float32.

    Args:
        model: the network.
        normalization: the normalization of its images, which are levels from 0 to 255, rounded or not.
        name: the name of the layer, which is no input of a dense layer.
    """

    def outputs(variables: Variables, images: jax.Array, change: jax.Array) -> tuple[jax.Array, jax.Array]:
        found = _outputs(model, variables, normalize(images, normalization), [], {name: change})
        return found[LOGITS].astype(jnp.float32), found[name].astype(jnp.float32)

    return outputs


def _outputs(
    model: nn.Module,
    variables: Variables,
    images: jax.Array,
    order: list[str],
    changes: Mapping[str, jax.Array] | None = None,
) -> dict[str, jax.Array]:
    """Returns the outputs of all modules by their names, and appends these to a list in the order of computation.

    They go through a collection of Flax, because a module may be lifted, as by ``nn.remat``. What ``changes`` has for
    an output is added to it.
    """
    times: dict[str, int] = collections.defaultdict(int)

    def note(name: str) -> str:
        times[name] += 1
        order.append(_numbered(name, times[name]))
        return order[-1]

    def changed(output: jax.Array, name: str) -> jax.Array:
        change = (changes or {}).get(name)
        return output if change is None else output + change.astype(output.dtype)

    def keep(next_method, arguments, options, context):
        module, name = context.module, "/".join(context.module.path) or LOGITS
        called = context.method_name == "__call__"
        if called and isinstance(module, nn.Dense):
            module.sow(_COLLECTION, _INPUT, arguments[0])
            note(f"{name}:input")
        output = next_method(*arguments, **options)
        # What changes nothing, as dropout outside training, is no layer.
        is_new = isinstance(output, jax.Array) and output is not (arguments[0] if arguments else None)
        if called and is_new and output.ndim > 1 and len(output) == len(images):
            output = changed(output, note(name))
            module.sow(_COLLECTION, _OUTPUT, output)
        elif context.method_name == LAST_MAP and not module.path and isinstance(output, jax.Array):
            output = changed(output, note(LAST_MAP))
            module.sow(_COLLECTION, _LAST, output)
        return output

    with nn.intercept_methods(keep):
        _, kept = model.apply(variables, images, train=False, mutable=[_COLLECTION])
    found = {}
    for (*modules, kind), outputs in flax.traverse_util.flatten_dict(kept[_COLLECTION]).items():
        module = "/".join(modules) or LOGITS
        name = {_OUTPUT: module, _INPUT: f"{module}:input", _LAST: LAST_MAP}[kind]
        for time, output in enumerate(outputs, 1):
            found[_numbered(name, time)] = output
    return found


def _numbered(name: str, time: int) -> str:
    """Returns the name of an output of a module that may be called several times."""
    return name if time == 1 else f"{name}:{time}"
