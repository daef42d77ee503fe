"""Rows of compile reports, made by hand."""

import dataclasses

from jaxcnn.laboratory.compile_rows import CollectiveRow, Holder, KernelRow, Memory, Program, Row, Seconds, Size
from jaxcnn.laboratory.grid import Point

POINT = Point("toy", "h100:8", 64, "bfloat16", "auto", (), "jit")
KERNEL = KernelRow("a", "fusion", "elementwise", "stage1/norm1", "forward", "bfloat16", 10, 0, 100, 50, 1, 2e-3)
CONVOLUTION = dataclasses.replace(KERNEL, name="b", kind="convolution", layer="stage1/conv1", flops=400, bound=4e-3)
COPY = dataclasses.replace(KERNEL, name="c", kind="copy", layer="stage1/conv1", flops=0, bytes_read=7, bytes_written=7)


def row(*kernels, point=POINT, **facts):
    """A row of a report."""
    program = Program(
        seconds=Seconds(1.0, 2.0, 3.0),
        size=Size(10, 100, 20, 200, 0),
        memory=Memory(
            held={"parameters": 1000},
            gradients=1000,
            temporaries=500,
            code=5,
            total=1505,
            peak_at="a",
            peak=450,
            holders=(Holder("stage1/norm1", "forward", "backward", 2, 450),),
        ),
        kernels=kernels,
        collectives=(CollectiveRow("all-reduce", "float32", 1000, "data", 1, 8, "", "backward", 1),),
        **facts,
    )
    return Row(point, {"jax": "0"}, 8, "a device", "h100", program)
