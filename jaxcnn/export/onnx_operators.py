"""For each operation of JAX that our networks have in evaluation, the operators of ONNX that do the same.

These are of version 18 of ONNX's operators: https://onnx.ai/onnx/operators. JAX's operations are described beside
`jax.lax`.
"""

import math
from collections.abc import Callable

import numpy as np

from jaxcnn.export.onnx_graph import WAY_OUT, Graph, Order, Unsupported, natural
from jaxcnn.export.traced import Array, Operation
from jaxcnn.ops.symbolic import is_symbolic
from jaxcnn.text import escaped

Write = Callable[[Graph, Operation], None]
"""A function that adds to a graph what does the same as an operation."""


def write(graph: Graph, operation: Operation) -> None:
    """Adds what does the same as an operation.

    Raises:
        Unsupported: there is nothing of that kind here.
    """
    if operation.name not in OPERATORS:
        raise _unsupported(operation)
    OPERATORS[operation.name](graph, operation)


def _unsupported(operation: Operation, how: str = "") -> Unsupported:
    return Unsupported(f"the network computes {escaped(operation.name)}{how}, which is not written as ONNX: {WAY_OUT}")


def _only(value: bool, operation: Operation, how: str) -> None:
    if not value:
        raise _unsupported(operation, how)


# Operations on each element: any order of the axes does, as long as it is one.


def _aligned(graph: Graph, operation: Operation) -> tuple[list[str], Order]:
    """Returns the operands in one order, and that order. Scalars have none."""
    order = graph.order(operation.operands)
    names = [graph.name(array, order if array.shape else ()) for array in operation.operands]
    return names, order


def _elementwise(*kinds: str) -> Write:
    """Returns what applies the first operator to the operands, and each other one to what the one before returns."""

    def write(graph: Graph, operation: Operation) -> None:
        names, order = _aligned(graph, operation)
        for kind in kinds:
            names = [graph.node(kind, names)]
        graph.set(operation.results[0], names[0], order)

    return write


def _maximum(graph: Graph, operation: Operation) -> None:
    images, bound = operation.operands
    value = graph.value(bound)
    if value is None or value.shape or value != 0:
        _elementwise("Max")(graph, operation)
    else:
        order = graph.order([images])
        graph.set(operation.results[0], graph.node("Relu", [graph.name(images, order)]), order)


def _square(graph: Graph, operation: Operation) -> None:
    (name,), order = _aligned(graph, operation)
    graph.set(operation.results[0], graph.node("Mul", [name, name]), order)


def _integer_power(graph: Graph, operation: Operation) -> None:
    (name,), order = _aligned(graph, operation)
    exponent = graph.constant(np.array(operation.parameters["y"], operation.operands[0].dtype))
    graph.set(operation.results[0], graph.node("Pow", [name, exponent]), order)


def _complement_of_erf(graph: Graph, operation: Operation) -> None:
    (name,), order = _aligned(graph, operation)
    one = graph.constant(np.array(1, operation.operands[0].dtype))
    graph.set(operation.results[0], graph.node("Sub", [one, graph.node("Erf", [name])]), order)


def _clamp(graph: Graph, operation: Operation) -> None:
    (low, values, high), order = _aligned(graph, operation)
    graph.set(operation.results[0], graph.node("Min", [graph.node("Max", [values, low]), high]), order)


def _select(graph: Graph, operation: Operation) -> None:
    (which, otherwise, chosen), order = _aligned(graph, operation)
    graph.set(operation.results[0], graph.node("Where", [which, chosen, otherwise]), order)


def _convert(graph: Graph, operation: Operation) -> None:
    import onnx.helper

    (name,), order = _aligned(graph, operation)
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(operation.results[0].dtype))
    graph.set(operation.results[0], graph.node("Cast", [name], to=kind), order)


# Operations that move axes or change their lengths.


def _transpose(graph: Graph, operation: Operation) -> None:
    (array,), permutation = operation.operands, operation.parameters["permutation"]
    order = graph.order([array])
    graph.set(operation.results[0], graph.name(array, order), tuple(permutation.index(axis) for axis in order))


def _reshape(graph: Graph, operation: Operation) -> None:
    (result,) = operation.results
    lengths = graph.lengths(result.shape)
    graph.set(result, graph.node("Reshape", [graph.name(operation.operands[0]), lengths]))


def _broadcast(graph: Graph, operation: Operation) -> None:
    (array,), (result,), axes = operation.operands, operation.results, operation.parameters["broadcast_dimensions"]
    new = [axis for axis in range(len(result.shape)) if axis not in axes]
    order = graph.order([array])
    # The new axes are stored behind the others.
    where = graph.constant(list(range(len(order), len(result.shape))))
    name = graph.node("Unsqueeze", [graph.name(array, order), where]) if new else graph.name(array, order)
    order = (*(axes[axis] for axis in order), *new)
    before = dict(zip(axes, array.shape, strict=True))
    if any(before.get(axis, 1) != result.shape[axis] for axis in order):
        name = graph.node("Expand", [name, graph.lengths([result.shape[axis] for axis in order])])
    graph.set(result, name, order)


def _concatenate(graph: Graph, operation: Operation) -> None:
    names, order = _aligned(graph, operation)
    axis = order.index(operation.parameters["dimension"])
    graph.set(operation.results[0], graph.node("Concat", names, axis=axis), order)


def _stack(graph: Graph, operation: Operation) -> None:
    axis = operation.parameters["axis"]
    where = graph.constant([axis])
    names = [graph.node("Unsqueeze", [graph.name(array), where]) for array in operation.operands]
    graph.set(operation.results[0], graph.node("Concat", names, axis=axis))


def _pad(graph: Graph, operation: Operation) -> None:
    array, fill = operation.operands
    config = [tuple(map(int, each)) for each in operation.parameters["padding_config"]]
    _only(not any(between for _, _, between in config), operation, " between pixels")
    order = graph.order([array])
    name = graph.name(array, order)
    if any(before or after for before, after, _ in config):
        amounts = [config[axis][side] for side in (0, 1) for axis in order]
        name = graph.node("Pad", [name, graph.constant(amounts), graph.name(fill)])
    graph.set(operation.results[0], name, order)


def _slice(graph: Graph, operation: Operation) -> None:
    (array,), given = operation.operands, operation.parameters
    starts, ends = given["start_indices"], given["limit_indices"]
    steps = given["strides"] or (1,) * len(starts)
    order = graph.order([array])
    cut = [
        axis
        for axis, (start, end, step) in enumerate(zip(starts, ends, steps, strict=True))
        if is_symbolic([start]) or start != 0 or step != 1 or end != array.shape[axis]
    ]
    _only(not is_symbolic([length for axis in cut for length in (starts[axis], ends[axis])]), operation, " of a symbol")
    name = graph.name(array, order)
    if cut:
        columns = ([each[axis] for axis in cut] for each in (starts, ends))
        axes, lengths = [order.index(axis) for axis in cut], [steps[axis] for axis in cut]
        name = graph.node("Slice", [name, *map(graph.constant, (*columns, axes, lengths))])
    graph.set(operation.results[0], name, order)


def _gather(graph: Graph, operation: Operation) -> None:
    """Writes a gather of one known slice, which JAX makes of ``images[:, 1:5]`` where the batch is a symbol."""
    (array, indices), given = operation.operands, operation.parameters
    numbers, sizes, where = given["dimension_numbers"], given["slice_sizes"], graph.value(indices)
    _only(where is not None and where.ndim == 1, operation, " of other things than one slice")
    assert where is not None
    begins = dict(zip(numbers.start_index_map, map(int, where), strict=True))
    axes = [axis for axis, length in enumerate(array.shape) if sizes[axis] != length]
    _only(not is_symbolic(sizes[axis] for axis in axes), operation, " of a symbol")
    name, order = graph.name(array), natural(array)
    if axes:
        starts = [begins.get(axis, 0) for axis in axes]
        ends = [start + sizes[axis] for start, axis in zip(starts, axes, strict=True)]
        name = graph.node("Slice", [name, *map(graph.constant, (starts, ends, axes))])
    if numbers.collapsed_slice_dims:
        name = graph.node("Squeeze", [name, graph.constant(numbers.collapsed_slice_dims)])
        order = natural(operation.results[0])
    graph.set(operation.results[0], name, order)


# Operations that sum, or take the largest.


def _reduce(kind: str) -> Write:
    def write(graph: Graph, operation: Operation) -> None:
        (array,), axes = operation.operands, operation.parameters["axes"]
        order = graph.order([array])
        where = graph.constant([order.index(axis) for axis in axes])
        name = graph.node(kind, [graph.name(array, order), where], keepdims=0)
        left = [axis for axis in range(len(order)) if axis not in axes]
        graph.set(operation.results[0], name, tuple(left.index(axis) for axis in order if axis in left))

    return write


def _windows(kind: str) -> Write:
    """Returns what reduces windows: ``MaxPool``, or ``AveragePool`` times the number of elements in a window."""

    def write(graph: Graph, operation: Operation) -> None:
        given = operation.parameters
        window, strides, padding = given["window_dimensions"], given["window_strides"], given["padding"]
        dilated = [length for name in ("base_dilation", "window_dilation") for length in given[name] or ()]
        _only(all(length == 1 for length in dilated), operation, " with dilation")
        # The pools slide over all axes but the first two, which are to be those without windows.
        order = tuple(sorted(range(len(window)), key=lambda axis: (window[axis] > 1, strides[axis] > 1)))
        still = all(window[axis] == strides[axis] == 1 and not any(padding[axis]) for axis in order[:2])
        _only(still and len(order) in (3, 4, 5), operation, f" with windows of {window}")
        axes = order[2:]
        name = graph.node(
            *(kind, [graph.name(operation.operands[0], order)]),
            kernel_shape=[window[axis] for axis in axes],
            strides=[strides[axis] for axis in axes],
            pads=[int(padding[axis][side]) for side in (0, 1) for axis in axes],
            **({"count_include_pad": 1} if kind == "AveragePool" else {}),
        )
        if kind == "AveragePool":
            elements = graph.constant(np.array(math.prod(window), operation.results[0].dtype))
            name = graph.node("Mul", [name, elements])
        graph.set(operation.results[0], name, order)

    return write


def _convolve(graph: Graph, operation: Operation) -> None:
    (images, kernel), given = operation.operands, operation.parameters
    of_images, of_kernel, of_result = given["dimension_numbers"]
    padding = [tuple(map(int, pair)) for pair in given["padding"]]
    once = all(length == 1 for length in given["lhs_dilation"]) and given["batch_group_count"] == 1
    _only(once and min(map(min, padding)) >= 0, operation, " with pixels between pixels or less than none around them")
    # JAX says where the batch, the channels and the others are, in the order that ONNX has them in.
    name = graph.node(
        *("Conv", [graph.name(images, tuple(of_images)), graph.name(kernel, tuple(of_kernel))]),
        strides=list(given["window_strides"]),
        pads=[pair[side] for side in (0, 1) for pair in padding],
        dilations=list(given["rhs_dilation"]),
        group=given["feature_group_count"],
    )
    graph.set(operation.results[0], name, tuple(of_result))


def _multiply(graph: Graph, operation: Operation) -> None:
    images, kernel = operation.operands
    (of_images, of_kernel), batched = operation.parameters["dimension_numbers"]
    one = len(of_images) == 1 and len(kernel.shape) == 2 and not any(map(len, batched))
    _only(one, operation, " of other arrays than a matrix and what it multiplies")

    def last(array: Array, axis: int) -> Order:
        return (*(other for other in range(len(array.shape)) if other != axis), axis)

    first, second = last(images, of_images[0]), last(kernel, of_kernel[0])[::-1]
    graph.set(operation.results[0], graph.node("MatMul", [graph.name(images, first), graph.name(kernel, second)]))


OPERATORS: dict[str, Write] = {
    "abs": _elementwise("Abs"),
    "add": _elementwise("Add"),
    "broadcast_in_dim": _broadcast,
    "clamp": _clamp,
    "concatenate": _concatenate,
    "conv_general_dilated": _convolve,
    "convert_element_type": _convert,
    "div": _elementwise("Div"),
    "dot_general": _multiply,
    "eq": _elementwise("Equal"),
    "erf": _elementwise("Erf"),
    "erfc": _complement_of_erf,
    "exp": _elementwise("Exp"),
    "gather": _gather,
    "ge": _elementwise("GreaterOrEqual"),
    "gt": _elementwise("Greater"),
    "integer_pow": _integer_power,
    "le": _elementwise("LessOrEqual"),
    "log": _elementwise("Log"),
    "logistic": _elementwise("Sigmoid"),
    "lt": _elementwise("Less"),
    "max": _maximum,
    "min": _elementwise("Min"),
    "mul": _elementwise("Mul"),
    "neg": _elementwise("Neg"),
    "pad": _pad,
    "pow": _elementwise("Pow"),
    "reduce_max": _reduce("ReduceMax"),
    "reduce_sum": _reduce("ReduceSum"),
    "reduce_window_max": _windows("MaxPool"),
    "reduce_window_sum": _windows("AveragePool"),
    "reshape": _reshape,
    "rsqrt": _elementwise("Sqrt", "Reciprocal"),
    "select_n": _select,
    "slice": _slice,
    "stack": _stack,
    "sqrt": _elementwise("Sqrt"),
    "square": _square,
    "sub": _elementwise("Sub"),
    "tanh": _elementwise("Tanh"),
    "transpose": _transpose,
}
"""What writes each operation, by JAX's name of it."""
