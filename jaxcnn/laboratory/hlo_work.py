"""The arithmetic of the instructions of a compiled program, counted as XLA counts it where it does."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from jaxcnn.laboratory.hlo import Array, Computation, Instruction, Module

PRODUCTS = ("convolution", "dot")
"""The operations that are products of a convolution or of matrices."""
_FREE = re.compile(
    "parameter|constant|iota|broadcast|bitcast|bitcast-convert|reshape|transpose|copy|slice|dynamic-slice|tuple|pad|"
    "dynamic-update-slice|concatenate|reverse|gather|get-tuple-element|while|conditional|call|custom-call|after-all|"
    "rng-bit-generator|partition-id|replica-id|opt-barrier|all-gather|all-to-all|collective-permute|sort|"
    "get-dimension-size|.*-(start|update|done)"
)
"""The operations without arithmetic of their own."""
_TRANSCENDENTAL = re.compile(
    "exponential|exponential-minus-one|log|log-plus-one|logistic|power|sqrt|rsqrt|cbrt|tanh|tan|sine|cosine|atan2|erf"
)
"""The operations that XLA does not count among FLOPs, because one stands for several."""


class Work(NamedTuple):
    """The arithmetic of an instruction, with all that it calls."""

    flops: int = 0
    """The operations as XLA counts them: a product's without those on padding, and 1 for each element of the rest."""
    multiply_adds: int = 0
    """The multiply-adds of convolutions and matrix products as papers count them, with those on padding."""

    def __add__(self, other: object) -> "Work":
        """Returns the sum of both."""
        assert isinstance(other, Work)
        return Work(self.flops + other.flops, self.multiply_adds + other.multiply_adds)

    def times(self, count: int) -> "Work":
        """Returns this work done several times."""
        return Work(count * self.flops, count * self.multiply_adds)


def work_of(module: Module, computation: Computation, instruction: Instruction) -> Work:
    """Returns the arithmetic of an instruction, with that of a fusion's instructions."""
    opcode = instruction.opcode

    def operand(index: int) -> Array:
        return computation.by_name[instruction.operands[index]].array

    match opcode:
        case "convolution":
            return convolution_work(instruction, operand(0), operand(1), instruction.array)
        case "dot":
            return _dot_work(instruction.array, operand(0), _indices(instruction.attributes, "lhs_contracting_dims"))
        case "custom-call":
            return _custom_call_work(instruction, [computation.by_name[name].array for name in instruction.operands])
        case "fusion" | "call" | "async-start":
            return sum((_all_work(module, name) for name in instruction.called), Work())
        case "reduce" | "all-reduce" | "all-reduce-start" | "reduce-scatter" | "scatter" | "map":
            inner = sum((_all_work(module, name).flops for name in instruction.called), 0)
            if opcode == "reduce":
                return Work(inner * (operand(0).elements - instruction.array.elements))
            if opcode == "scatter":
                return Work(inner * operand(-1).elements)
            return Work(inner * sum(array.elements for array in instruction.arrays))
        case "reduce-window":
            inner = sum((_all_work(module, name).flops for name in instruction.called), 0)
            return Work(inner * (math.prod(window_of(instruction).size) - 1) * instruction.array.elements)
        case "select-and-scatter":
            inner = [_all_work(module, name).flops for name in instruction.called]
            return Work(max(inner, default=0) * operand(1).elements * math.prod(window_of(instruction).size))
    if _FREE.fullmatch(opcode) or _TRANSCENDENTAL.fullmatch(opcode):
        return Work()
    return Work(sum(array.elements for array in instruction.arrays))


def _all_work(module: Module, name: str) -> Work:
    computation = module.computations[name]
    return sum((work_of(module, computation, each) for each in computation.instructions), Work())


class Window(NamedTuple):
    """The window of a convolution or a pooling, a number for each axis of space."""

    size: tuple[int, ...]
    stride: tuple[int, ...]
    low: tuple[int, ...]
    """The padding before the first element; negative where elements are left out."""
    image_dilation: tuple[int, ...]
    kernel_dilation: tuple[int, ...]
    turned: tuple[int, ...]
    """1 where the kernel is taken from its end, else 0."""


def window_of(instruction: Instruction) -> Window:
    """Returns the window of an instruction; without axes if it has none, as a 1x1 convolution may be written."""
    text = instruction.attributes.get("window", "{}")[1:-1]
    parts = dict(part.split("=", 1) for part in text.split())
    size = tuple(int(each) for each in parts["size"].split("x")) if "size" in parts else ()

    def axes(name: str, default: int) -> tuple[int, ...]:
        return tuple(int(each) for each in parts[name].split("x")) if name in parts else (default,) * len(size)

    low = tuple(int(each.split("_")[0]) for each in parts["pad"].split("x")) if "pad" in parts else (0,) * len(size)
    dilations = axes("lhs_dilate", 1), axes("rhs_dilate", 1)
    return Window(size, axes("stride", 1), low, *dilations, axes("rhs_reversal", 0))


def convolution_work(instruction: Instruction, image: Array, kernel: Array, output: Array) -> Work:
    """Returns the work of a convolution of an image and a kernel, whose axes ``dim_labels`` names."""
    labels = re.fullmatch(r"(\w+)_(\w+)->(\w+)", instruction.attributes["dim_labels"])
    assert labels, instruction.attributes["dim_labels"]
    images, kernels, outputs = labels.groups()
    window = window_of(instruction)
    groups = int(instruction.attributes.get("batch_group_count", 1))
    # The kernel's input features are those of a group already.
    others = kernel.dims[kernels.index("i")] * output.dims[outputs.index("f")] * image.dims[images.index("b")] // groups
    inside, asked = others, others
    for axis in range(len(window.size)):
        label = str(axis)
        length, produced = image.dims[images.index(label)], output.dims[outputs.index(label)]
        valid, multiplied = positions(window, axis, length, produced)
        if window.turned[axis] and length < window.size[axis]:
            # XLA's TPU backend takes the image for the kernel where that is better: what is padded then is the kernel.
            multiplied = min(multiplied, produced * length)
        inside, asked = inside * valid, asked * multiplied
    return Work(2 * inside, asked)


def positions(window: Window, axis: int, length: int, outputs: int) -> tuple[int, int]:
    """Returns how many pairs of an output and a tap meet an element along an axis, without and with padding.

    Holes that dilation makes between the elements of the image are not multiplied in either count: they come of
    strides, in the gradients of the image.
    """
    inside = multiplied = 0
    dilation = window.image_dilation[axis]
    for tap in range(window.size[axis]):
        for output in range(outputs):
            at = output * window.stride[axis] + tap * window.kernel_dilation[axis] - window.low[axis]
            if at % dilation == 0:
                multiplied += 1
                inside += 0 <= at // dilation < length
    return inside, multiplied


def _dot_work(output: Array, left: Array, contracted: tuple[int, ...]) -> Work:
    multiply_adds = output.elements * math.prod(left.dims[axis] for axis in contracted)
    return Work(2 * multiply_adds, multiply_adds)


def _indices(attributes: Mapping[str, str], key: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", attributes.get(key, ""))))


def target_of(instruction: Instruction) -> str:
    """Returns the name of the function that a custom call calls; "" for any other instruction."""
    return instruction.attributes.get("custom_call_target", "").strip('"')


def _custom_call_work(instruction: Instruction, operands: list[Array]) -> Work:
    target = target_of(instruction)
    output = instruction.array
    if target.startswith("__cudnn$conv"):
        # The window and the labels are those of the forward convolution, whichever product is computed.
        match target.removeprefix("__cudnn$conv"):
            case "BackwardInput":
                image, kernel, result = output, operands[1], operands[0]
            case "BackwardFilter":
                image, kernel, result = operands[0], output, operands[1]
            case _:
                image, kernel, result = operands[0], operands[1], output
        return convolution_work(instruction, image, kernel, result)
    if target.startswith(("__cublas$", "__onednn$matmul")):
        return _dot_work(output, operands[0], tuple(_contracted(instruction, operands[0])))
    if target == "__onednn$convolution" and "dim_labels" in instruction.attributes:
        return convolution_work(instruction, operands[0], operands[1], output)
    return Work()


def _contracted(instruction: Instruction, left: Array) -> Iterator[int]:
    """Yields the axes that a call of a library for matrix products sums over; the last where it says nothing else."""
    config = instruction.attributes.get("backend_config", "")
    try:
        found = json.loads(config)
    except json.JSONDecodeError:
        found = {}
    numbers = found.get("gemm_backend_config", {}).get("dot_dimension_numbers", {})
    yield from map(int, numbers.get("lhs_contracting_dimensions", [len(left.dims) - 1]))
