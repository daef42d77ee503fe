"""Linear maps whose transposes are given, which can be differentiated forward, in reverse, and any number of times.

A derivative is a linear map. Reverse mode transposes it, and JAX's transpose of a fast map is often a slow one. So the
operations here say both: a `jax.custom_jvp` rule returns the tangent as a `linear_map`, and the transpose is what
reverse mode runs. `jax.custom_vjp` knows no forward mode, and `jax.custom_derivatives.linear_call` neither batches nor
lets the map's own arguments be differentiated.
"""

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive, jaxpr_as_fun
from jax.interpreters import ad, batching, mlir

from jaxcnn.ops.backend import surroundings

Arrays = tuple[jax.Array, ...]
Apply = Callable[[Arrays, Arrays], Arrays]

_linear_map = Primitive("linear_map")
_linear_map.multiple_results = True


def linear_map(apply: Apply, transpose: Apply, constants: Arrays, operands: Arrays) -> Arrays:
    """Returns ``apply(constants, operands)``, which is linear in the operands and has this transpose.

    All higher derivatives follow: with respect to the operands from the two functions, and with respect to the
    constants by differentiating them. Until something runs, it is one operation, so that reverse mode keeps the
    constants between the passes and nothing that is computed from them.

    Args:
        apply: ``apply(constants, operands)`` returns the outputs. It closes over no arrays.
        transpose: ``transpose(constants, cotangents)`` returns an array for each operand, from one for each output.
        constants: what the map depends on.
        operands: what it is linear in. None may vary over fewer mapped axes than the outputs do (`vary_alike`).
    """
    return tuple(_bind(constants, operands, apply, transpose))


@functools.lru_cache(maxsize=4096)
def _tracer(apply: Apply, split: int, around: tuple[str, bool]):
    """Returns what keeps the traces of a map: its derivatives are the same object wherever an operation stands."""
    del around  # by which it is traced

    def run(*arrays):
        return list(apply(arrays[:split], arrays[split:]))

    return jax.jit(run)


def _bind(constants: Sequence[jax.Array], operands: Sequence[jax.Array], apply: Apply, transpose: Apply):
    # It is traced here, where the mesh and the mapped axes are known, and not when it is compiled.
    jaxpr = _tracer(apply, len(constants), surroundings()).trace(*constants, *operands).jaxpr
    return _linear_map.bind(*constants, *operands, jaxpr=jaxpr, apply=apply, transpose=transpose, split=len(constants))


@_linear_map.def_impl
def _run(*arrays, jaxpr, **_):
    return jaxpr_as_fun(jaxpr)(*arrays)


@_linear_map.def_abstract_eval
def _types(*_, jaxpr, **__):
    return jaxpr.out_avals


def _push_forward(arrays, tangents, *, jaxpr, apply: Apply, transpose: Apply, split: int):
    bind = functools.partial(_linear_map.bind, jaxpr=jaxpr, apply=apply, transpose=transpose, split=split)
    outputs = bind(*arrays)
    terms = []
    if not all(type(tangent) is ad.Zero for tangent in tangents[split:]):
        terms.append(bind(*arrays[:split], *map(ad.instantiate_zeros, tangents[split:])))
    # Constants may be whole numbers, such as indices, which have no tangents.
    moving = [i for i in range(split) if jnp.issubdtype(arrays[i].dtype, jnp.inexact)]
    moving = [i for i in moving if type(tangents[i]) is not ad.Zero]
    if moving:

        def of_moving(*values):
            replaced = dict(zip(moving, values, strict=True))
            return apply(tuple(replaced.get(i, arrays[i]) for i in range(split)), tuple(arrays[split:]))

        _, term = jax.jvp(of_moving, [arrays[i] for i in moving], [tangents[i] for i in moving])
        terms.append(term)
    return outputs, [functools.reduce(jnp.add, each) for each in zip(*terms, strict=True)]


def _pull_back(cotangents, *arrays, jaxpr, apply: Apply, transpose: Apply, split: int):
    del jaxpr
    found = _bind(arrays[:split], list(map(ad.instantiate_zeros, cotangents)), transpose, apply)
    # An operand whose value is known here is a zero that was written out: nothing depends on its gradient.
    unknown = map(ad.is_undefined_primal, arrays[split:])
    return [None] * split + [each if asked else None for each, asked in zip(found, unknown, strict=True)]


def _batch(axis, arrays, axes, *, jaxpr, apply: Apply, transpose: Apply, split: int):
    if all(each is None for each in axes):
        found = _linear_map.bind(*arrays, jaxpr=jaxpr, apply=apply, transpose=transpose, split=split)
        return found, [None] * len(found)
    # All operands get the axis, so that the transpose gets it with all cotangents, and returns it with all gradients.
    operands = [
        jnp.broadcast_to(array, (axis.size, *array.shape)) if where is None else jnp.moveaxis(array, where, 0)
        for array, where in zip(arrays[split:], axes[split:], strict=True)
    ]
    batched = functools.partial(_batched, in_axes=tuple(axes[:split]), axis=axis)
    found = _bind(arrays[:split], operands, batched(apply), batched(transpose))
    return found, [0] * len(found)


def _batched(apply: Apply, in_axes: tuple[int | None, ...], axis) -> Apply:
    return jax.vmap(
        apply, (in_axes, 0), axis_size=axis.size, axis_name=axis.name, spmd_axis_name=axis.spmd_name or None
    )


ad.primitive_jvps[_linear_map] = _push_forward
ad.primitive_transposes[_linear_map] = _pull_back
batching.fancy_primitive_batchers[_linear_map] = _batch
mlir.register_lowering(_linear_map, mlir.lower_fun(_run, multiple_results=True))
