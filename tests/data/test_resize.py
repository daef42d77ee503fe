import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxcnn.data import resize as module
from jaxcnn.data.resize import resize, resize_fast

SIDES = st.integers(1, 60)


def noise(rows, columns, channels, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (rows, columns, channels), np.uint8)


@settings(max_examples=150, deadline=None)
@given(
    st.tuples(SIDES, SIDES, st.sampled_from([1, 3])),
    SIDES,
    SIDES,
    st.sampled_from([("nearest", 0), ("bilinear", 2), ("bicubic", 0), ("lanczos", 0)]),
)
def test_the_fast_way_is_within_rounding_of_pillows(shape, height, width, method):
    image, (interpolation, levels) = noise(*shape), method
    expected, found = resize(image, height, width, interpolation), resize_fast(image, height, width, interpolation)
    assert found.shape == expected.shape == (height, width, shape[2])
    assert found.dtype == expected.dtype == np.uint8
    assert np.abs(found.astype(int) - expected).max() <= levels


@pytest.mark.skipif(module.cykooz_resizer is None, reason="the fast way is not to be had here")
def test_without_the_package_pillow_does_it(monkeypatch):
    image = noise(50, 40, 3)
    assert not np.array_equal(resize_fast(image, 30, 30, "bilinear"), resize(image, 30, 30, "bilinear"))
    monkeypatch.setattr(module, "cykooz_resizer", None)
    np.testing.assert_array_equal(resize_fast(image, 30, 30, "bilinear"), resize(image, 30, 30, "bilinear"))


def test_a_strided_box_of_an_image_is_scaled_as_its_copy():
    image = noise(50, 40, 3)
    box = image[5:45, 3:38]
    np.testing.assert_array_equal(resize_fast(box, 30, 30, "bilinear"), resize_fast(box.copy(), 30, 30, "bilinear"))


def test_of_a_smooth_image_hardly_anything_differs():
    rows, columns = np.mgrid[:90, :120]
    image = np.stack([rows * 2, columns * 2, rows + columns], -1).astype(np.uint8)
    difference = np.abs(resize_fast(image, 70, 80, "bilinear").astype(int) - resize(image, 70, 80, "bilinear"))
    assert difference.max() <= 1
    assert difference.mean() < 0.3
