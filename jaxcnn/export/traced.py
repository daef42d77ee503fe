"""A function of images as one list of operations on arrays, for formats that are not JAX's own.

The calls in what JAX traces are replaced by what they call. What does not depend on the images, such as what batch
normalization makes of its statistics, is computed, and what the result does not depend on is left out.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jax.core import AbstractValue, ShapedArray
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, Primitive, Var
from jax.typing import DTypeLike

from jaxcnn.ops.symbolic import Length, is_symbolic
from jaxcnn.types import Option

CALLS = {"jit": "jaxpr", "pjit": "jaxpr", "custom_jvp_call": "call_jaxpr", "linear_map": "jaxpr"}
"""The operations that call a function, and the parameter with what it was traced to."""
SAME = ("copy", "optimization_barrier", "stop_gradient")
"""The operations that return what they are given."""


@dataclasses.dataclass(frozen=True, eq=False)
class Array:
    """An array of a program. Two are the same only if they are one object."""

    shape: tuple[Length, ...]
    """The sizes; that of the batch is a symbol."""
    dtype: DTypeLike


class Operation(NamedTuple):
    """One operation of a program."""

    primitive: Primitive
    parameters: Mapping[str, Option]
    operands: tuple[Array, ...]
    results: tuple[Array, ...]

    @property
    def name(self) -> str:
        """The name that JAX has for it."""
        return self.primitive.name


class Program(NamedTuple):
    """What a function computes."""

    images: Array
    result: Array
    operations: list[Operation]
    """The operations that depend on the images, in an order in which they can run."""
    constants: Mapping[Array, np.ndarray]
    """The values of the arrays that do not depend on them."""


def traced(function: Callable[[jax.Array], jax.Array], images: jax.ShapeDtypeStruct) -> Program:
    """Traces a function.

    Args:
        function: the function of images, which may close over arrays.
        images: the shape and the type of the images. The number of images may be a symbol.
    """
    closed = jax.make_jaxpr(function)(images)
    constants: dict[Array, jax.Array | np.ndarray] = {}
    operations: list[Operation] = []
    given = Array(images.shape, np.dtype(images.dtype))
    (result,) = _inline(closed, [given], operations, constants)
    operations = _needed(operations, result)
    known = _known(operations, constants)
    rest = [operation for operation in operations if operation.results[0] not in known]
    return Program(given, result, rest, _computed(operations, rest, result, constants))


def _inline(
    called: ClosedJaxpr,
    operands: Sequence[Array],
    operations: list[Operation],
    constants: dict[Array, jax.Array | np.ndarray],
) -> list[Array]:
    """Appends the operations of what is called, and returns its results."""
    jaxpr: Jaxpr = called.jaxpr
    arrays: dict[Var, Array] = dict(zip(jaxpr.invars, operands, strict=True))

    def constant(value: jax.Array | np.ndarray) -> Array:
        array = Array(np.shape(value), jax.typeof(value).dtype)
        constants[array] = value
        return array

    def find(atom: Var | Literal) -> Array:
        return constant(np.asarray(atom.val, _like(atom.aval).dtype)) if isinstance(atom, Literal) else arrays[atom]

    arrays.update((var, constant(value)) for var, value in zip(jaxpr.constvars, called.consts, strict=True))
    for equation in jaxpr.eqns:
        given, name = [find(atom) for atom in equation.invars], equation.primitive.name
        if name in CALLS:
            results = _inline(equation.params[CALLS[name]], given, operations, constants)
        elif name in SAME:
            results = given
        else:
            results = [_like(var.aval) for var in equation.outvars]
            operations.append(Operation(equation.primitive, equation.params, tuple(given), tuple(results)))
        arrays.update(zip(equation.outvars, results, strict=True))
    return [find(atom) for atom in jaxpr.outvars]


def _like(kind: AbstractValue) -> Array:
    """Returns an array of a kind that JAX has traced."""
    assert isinstance(kind, ShapedArray)  # there are tokens besides, which order effects, and networks have none
    return Array(kind.shape, kind.dtype)


def _needed(operations: Sequence[Operation], result: Array) -> list[Operation]:
    """Returns the operations on which the result depends."""
    arrays, needed = {result}, []
    for operation in reversed(operations):
        if not arrays.isdisjoint(operation.results):
            arrays.update(operation.operands)
            needed.append(operation)
    return needed[::-1]


def _known(operations: Sequence[Operation], constants: Mapping[Array, jax.Array | np.ndarray]) -> set[Array]:
    """Returns the arrays that do not depend on the images."""
    known = set(constants)
    for operation in operations:
        sizes = [length for result in operation.results for length in result.shape]
        if known.issuperset(operation.operands) and not is_symbolic(sizes):
            known.update(operation.results)
    return known


def _computed(
    operations: Sequence[Operation],
    rest: Sequence[Operation],
    result: Array,
    constants: Mapping[Array, jax.Array | np.ndarray],
) -> dict[Array, np.ndarray]:
    """Returns the values of what is known of the operands of the rest, which are computed by one jitted function."""
    left = {id(operation) for operation in rest}
    first = [operation for operation in operations if id(operation) not in left]
    made = {array for operation in first for array in operation.results}
    asked = list({array: None for operation in rest for array in operation.operands if array in made})
    asked += [result] if result in made else []
    used = list({array: None for operation in first for array in operation.operands if array in constants})

    def compute(values: list[jax.Array]) -> list[jax.Array]:
        arrays = dict(zip(used, values, strict=True))
        for operation in first:
            operands = [arrays[array] for array in operation.operands]
            found = operation.primitive.bind(*operands, **operation.parameters)
            found = found if operation.primitive.multiple_results else [found]
            arrays.update(zip(operation.results, found, strict=True))
        return [arrays[array] for array in asked]

    values: dict[Array, jax.Array | np.ndarray] = {
        array: constants[array] for operation in rest for array in operation.operands if array in constants
    }
    if asked:
        found = jax.jit(compute)([constants[array] for array in used])
        values.update(zip(asked, found, strict=True))
    return {array: np.asarray(value) for array, value in values.items()}
