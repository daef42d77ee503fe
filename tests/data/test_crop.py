"""Crop geometry: always inside the image, as torchvision places it; the cut always of the size asked for."""

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from jaxcnn.config import CenterCrop, Pad, RandomResizedCrop, Resize
from jaxcnn.data.crop import CropError, center_box, cut, is_random, random_resized_box, short_side_shape

SIDE = st.integers(1, 400)
BOUNDS = st.tuples(st.floats(0.05, 4), st.floats(0.05, 4)).map(lambda pair: tuple(sorted(pair)))


def photo(height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.RandomState(0).randint(256, size=(height, width, channels)).astype(np.uint8)


@given(seed=st.integers(0, 2**31), height=SIDE, width=SIDE, scale=BOUNDS, ratio=BOUNDS)
@example(seed=0, height=400, width=1, scale=(1.0, 1.0), ratio=(3.0, 3.0))
def test_random_box_lies_in_the_image(seed, height, width, scale, ratio):
    top, left, box_height, box_width = random_resized_box(np.random.RandomState(seed), height, width, scale, ratio)
    assert 0 <= top <= top + box_height <= height
    assert 0 <= left <= left + box_width <= width
    assert box_height >= 1
    assert box_width >= 1


def test_random_box_keeps_to_scale_and_ratio():
    rng = np.random.RandomState(0)
    boxes = np.array([random_resized_box(rng, 1000, 1000, (0.1, 0.9), (0.75, 4 / 3)) for _ in range(500)])
    area, ratio = boxes[:, 2] * boxes[:, 3] / 1e6, boxes[:, 3] / boxes[:, 2]
    assert 0.099 < area.min() < 0.15
    assert area.max() < 0.901
    assert 0.74 < ratio.min() < 0.77
    assert 1.3 < ratio.max() < 1.35
    assert abs(np.log(ratio).mean()) < 0.03
    assert len(np.unique(boxes[:, 0])) > 100


@pytest.mark.parametrize(
    ("height", "width", "box"),
    [(100, 10, (43, 0, 13, 10)), (10, 100, (0, 43, 10, 13)), (12, 10, (0, 0, 12, 10))],
    ids=["tall", "wide", "allowed as it is"],
)
def test_random_box_falls_back_to_the_centre(height, width, box):
    # Twice the image's area never fits.
    assert random_resized_box(np.random.RandomState(0), height, width, (2.0, 2.0), (0.75, 4 / 3)) == box


@given(height=SIDE, width=SIDE, size=SIDE)
def test_center_box_is_centred(height, width, size):
    for offset, length in zip(center_box(height, width, size), (height, width), strict=True):
        before, after = offset, length - size - offset
        assert abs(before - after) <= 1
        if length >= size:
            assert min(before, after) >= 0


def test_center_box_rounds_as_torchvision():
    # Inside, half to even: (5 - 4) / 2 to 0 and (7 - 4) / 2 to 2. Outside, the smaller half of the padding first.
    assert center_box(5, 7, 4) == (0, 2)
    assert center_box(5, 4, 8) == (-1, -2)


@given(height=SIDE, width=SIDE, short=st.integers(1, 300))
def test_short_side_shape(height, width, short):
    resized = short_side_shape(height, width, short)
    assert min(resized) == short
    assert max(resized) == math.floor(short * max(height, width) / min(height, width))
    assert (height <= width) == (resized[0] <= resized[1]) or resized[0] == resized[1]


@settings(deadline=None, max_examples=60)
@given(
    height=st.integers(1, 60),
    width=st.integers(1, 60),
    channels=st.sampled_from([1, 3]),
    crop=st.sampled_from(
        [
            Resize(size=16, interpolation="nearest"),
            Resize(size=24, interpolation="lanczos"),
            Pad(size=60),
            CenterCrop(size=24, resize=30, interpolation="bicubic"),
            CenterCrop(size=40, resize=20),
            RandomResizedCrop(size=20),
        ]
    ),
)
def test_cut_is_a_square_of_the_size_asked_for(height, width, channels, crop):
    image = photo(height, width, channels)
    first = cut(image, crop, np.random.RandomState(1))
    assert first.shape == (crop.size, crop.size, channels)
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, cut(image, crop, np.random.RandomState(1)))


@pytest.mark.parametrize("crop", [Resize(size=20), Pad(size=20), CenterCrop(size=20, resize=20)])
def test_an_image_of_that_size_is_left_alone(crop):
    image = photo(20, 20)
    np.testing.assert_array_equal(cut(image, crop), image)


def test_pad_puts_28_in_32():
    image = photo(28, 28, 1)
    padded = cut(image, Pad(size=32))
    np.testing.assert_array_equal(padded[2:30, 2:30], image)
    assert padded.sum() == image.sum()


def test_center_crop_resizes_then_cuts():
    image = photo(50, 75)
    resized = Image.fromarray(image).resize((48, 32), Image.Resampling.BILINEAR)
    expected = np.asarray(resized)[4:28, 12:36]
    np.testing.assert_array_equal(cut(image, CenterCrop(size=24, resize=32)), expected)


def test_center_crop_beyond_the_image_is_black():
    cropped = cut(np.full((10, 20, 3), 255, np.uint8), CenterCrop(size=16, resize=10))
    assert (cropped[3:13] == 255).all()
    assert (cropped[:3] == 0).all()
    assert (cropped[13:] == 0).all()


def test_names_what_it_cannot_cut():
    with pytest.raises(CropError, match="40 by 20 pixels, too large to be padded to 32 by 32"):
        cut(photo(40, 20), Pad(size=32))
    with pytest.raises(CropError, match="too elongated"):
        cut(np.zeros((1, 1 << 20, 3), np.uint8), CenterCrop())


def test_only_the_random_crop_is_random():
    assert is_random(RandomResizedCrop())
    assert not any(map(is_random, (Resize(), Pad(), CenterCrop())))
