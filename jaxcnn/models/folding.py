"""Batch normalization folded into the convolution before it, for networks that no longer train.

With its running statistics, batch normalization is an affine map of each channel. Where it follows a convolution, the
two are one convolution with another kernel and a bias (Jacob et al., arXiv:1712.05877, section 3.2, equation 14).
"""

from collections import Counter
from collections.abc import Iterator

import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name
from jax.extend.core import Jaxpr, Var, jaxprs_in_params

from jaxcnn.layers.conv import Conv
from jaxcnn.layers.norm import BatchNorm
from jaxcnn.models.parts import ImageShape
from jaxcnn.types import PyTree, Variables

_FROM, _INTO = "the outputs of ", "the inputs of "


def fold_batch_norm(model: nn.Module, variables: Variables, image_shape: ImageShape) -> Variables:
    """Returns variables with which a network computes the same in evaluation, with fewer operations.

    A normalization is folded where its input is the output of a convolution of this package and nothing else takes that
    output. The convolution's kernel is then the product with the factor of each channel. What is left of the
    normalization is one parameter, ``bias``, which is added; its scale and its statistics are gone. All of it is
    computed in float64 and rounded once, to the types that the variables have. The other normalizations stay as they
    are: those before an activation and a convolution, as in DenseNet, and those of several convolutions together.

    The network itself stays the same, and so do the names of all other variables. So it is evaluated as before, with
    ``model.apply``, and cannot be trained: its normalizations refuse ``train=True``.

    Args:
        model: the network, which may be folded already.
        variables: its variables, in either layout: equal blocks may be stacked.
        image_shape: (height, width, channels) of images that the network takes; which ones does not change the result.
    """
    flat = flax.traverse_util.flatten_dict(variables, sep="/")
    for conv, norm, epsilon in _foldable(model, variables, image_shape):
        scale, bias = (f"params/{norm}/{name}" for name in ("scale", "bias"))
        mean, var = (f"batch_stats/{norm}/{name}" for name in ("mean", "var"))
        if scale not in flat:
            continue  # it is folded already
        exact = {path: np.asarray(flat[path], np.float64) for path in (scale, bias, mean, var)}
        factor = exact[scale] / np.sqrt(exact[var] + epsilon)
        kernel, own_bias = f"params/{conv}/kernel", f"params/{conv}/bias"
        offset = -exact[mean]
        if own_bias in flat:
            offset += np.asarray(flat[own_bias], np.float64)
            flat[own_bias] = np.zeros_like(np.asarray(flat[own_bias]))
        folded = np.asarray(flat[kernel], np.float64) * factor[..., None, None, None, :]  # blocks may be stacked
        flat[kernel] = folded.astype(flat[kernel].dtype)
        flat[bias] = (exact[bias] + offset * factor).astype(flat[bias].dtype)
        for path in (scale, mean, var):
            del flat[path]
    return flax.traverse_util.unflatten_dict(flat, sep="/")


def _foldable(model: nn.Module, variables: Variables, image_shape: ImageShape) -> list[tuple[str, str, float]]:
    """Returns the paths of each convolution and of the normalization that alone takes its output, with the epsilon.

    The network is traced with a name on each output of a convolution and on each input of a normalization, so that what
    is found is what is computed, and not what modules are called. A module that is called twice is left out.
    """
    epsilons: dict[str, float] = {}

    def named(call, arguments, options, context):
        module = context.module
        path = "/".join(module.path)
        if context.method_name == "__call__" and isinstance(module, Conv):
            return checkpoint_name(call(*arguments, **options), _FROM + path)
        if context.method_name == "__call__" and isinstance(module, BatchNorm):
            epsilons[path] = module.epsilon
            return call(checkpoint_name(arguments[0], _INTO + path), *arguments[1:], **options)
        return call(*arguments, **options)

    def evaluate(variables: Variables, images: jax.Array) -> PyTree:
        return model.apply(variables, images, train=False)

    images = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), dict(variables))
    with nn.intercept_methods(named):
        jaxpr = jax.make_jaxpr(evaluate)(shapes, images).jaxpr
    calls = Counter(_names(jaxpr))
    return [
        (conv, norm, epsilons[norm])
        for conv, norm in _pairs(jaxpr)
        if calls[_FROM + conv] == 1 and calls[_INTO + norm] == 1
    ]


def _names(jaxpr: Jaxpr) -> Iterator[str]:
    """Yields the name of each named value, as often as it is computed."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "name":
            yield equation.params["name"]
        for inner in jaxprs_in_params(equation.params):
            yield from _names(inner)


def _pairs(jaxpr: Jaxpr) -> Iterator[tuple[str, str]]:
    """Yields the paths of each convolution and of the normalization that takes its output, if nothing else does."""
    taken = [each for equation in jaxpr.eqns for each in equation.invars] + list(jaxpr.outvars)
    times = Counter(each for each in taken if isinstance(each, Var))
    names = {
        equation.outvars[0]: equation.params["name"] for equation in jaxpr.eqns if equation.primitive.name == "name"
    }
    for equation in jaxpr.eqns:
        if equation.primitive.name == "name" and equation.params["name"].startswith(_INTO):
            (inputs,) = equation.invars
            if isinstance(inputs, Var) and times[inputs] == 1 and names.get(inputs, "").startswith(_FROM):
                yield names[inputs].removeprefix(_FROM), equation.params["name"].removeprefix(_INTO)
        for inner in jaxprs_in_params(equation.params):
            yield from _pairs(inner)
