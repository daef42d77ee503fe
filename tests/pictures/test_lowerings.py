import pytest

from jaxcnn.benchmarks.convolutions import time_convolution
from jaxcnn.ops.conv_shape import ConvShape
from jaxcnn.pictures.lowerings import plot_timings

SHAPE = ConvShape((2, 8, 8, 4), (3, 3, 2, 4), padding=((1, 1), (1, 1)), groups=2)


def test_a_plot_is_a_file(tmp_path):
    pytest.importorskip("matplotlib")
    plot_timings(time_convolution(SHAPE, rounds=1), tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1000
