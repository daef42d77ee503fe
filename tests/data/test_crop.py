"""Crop geometry: always inside the image, as torchvision places it; the cut always of the size asked for."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from jaxcnn.config import CenterCrop, ConfigError, Pad, RandomResizedCrop, Resize, ScaleJitter
from jaxcnn.data.crop import (
    CropError,
    center_box,
    cut,
    is_random,
    jittered_window,
    plan,
    random_resized_box,
    short_side_shape,
    with_short_side,
)
from jaxcnn.data.resize import resize_fast
from jaxcnn.models.registry import list_models
from jaxcnn.weights.published import published_weights
from tests.golden import crop_cases

GOLDEN = np.load(Path(__file__).parent.parent / "golden" / "crops.npz")

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


def test_random_box_is_the_same_for_good():
    boxes = [
        random_resized_box(np.random.RandomState(seed), 375, 500, (0.08, 1.0), (3 / 4, 4 / 3)) for seed in range(4)
    ]
    assert boxes == [(9, 21, 311, 352), (9, 133, 277, 314), (22, 43, 344, 262), (56, 0, 312, 352)]


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
            ScaleJitter(size=20, short_side=(20, 40)),
            ScaleJitter(size=20, short_side=(30, 30), from_center_square=True, interpolation="bicubic"),
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


@pytest.mark.parametrize("preprocessing", crop_cases.PREPROCESSINGS, ids=lambda each: "-".join(map(str, each)))
def test_center_crop_is_what_published_weights_were_measured_on(preprocessing):
    resize, size, interpolation = preprocessing
    crop = Resize(size=size, interpolation=interpolation)
    if resize is not None:
        crop = CenterCrop(size=size, resize=resize, interpolation=interpolation)
    for shape in crop_cases.SHAPES:
        cropped = cut(crop_cases.image(*shape), crop)
        name = "_".join(map(str, (*shape, *preprocessing)))
        difference = crop_cases.pixels(cropped).astype(int) - GOLDEN[f"{name}_pixels"]
        assert abs(difference).max() <= 1, shape
        # Of fields of some hundred pixels, in 1/256 of a grey level.
        difference = crop_cases.means(cropped).astype(int) - GOLDEN[f"{name}_means"].astype(int)
        assert abs(difference).max() <= 10, shape


def test_that_is_every_preprocessing_of_published_weights():
    published = {
        (entry.resize, entry.crop, entry.interpolation) for name in list_models() for entry in published_weights(name)
    }
    assert published <= set(crop_cases.PREPROCESSINGS)


def test_center_crop_beyond_the_image_is_black():
    cropped = cut(np.full((10, 20, 3), 255, np.uint8), CenterCrop(size=16, resize=10))
    assert (cropped[3:13] == 255).all()
    assert (cropped[:3] == 0).all()
    assert (cropped[13:] == 0).all()


@given(
    seed=st.integers(0, 2**31),
    height=SIDE,
    width=SIDE,
    size=st.integers(1, 50),
    more=st.tuples(st.integers(0, 50), st.integers(0, 50)),
    center_square=st.booleans(),
)
def test_jittered_window_lies_in_the_scaled_image(seed, height, width, size, more, center_square):
    shorts = size + more[0], size + more[0] + more[1]
    rng = np.random.RandomState(seed)
    (scaled_height, scaled_width), (top, left) = jittered_window(rng, height, width, shorts, size, center_square)
    short = min(scaled_height, scaled_width)
    assert shorts[0] <= short <= shorts[1]
    assert (scaled_height, scaled_width) == short_side_shape(height, width, short)
    # The part of the scaled image that the window may lie in.
    first = center_box(scaled_height, scaled_width, short) if center_square else (0, 0)
    span = (short, short) if center_square else (scaled_height, scaled_width)
    assert first[0] <= top <= first[0] + span[0] - size
    assert first[1] <= left <= first[1] + span[1] - size


def test_scale_jitter_reaches_every_scale_and_place():
    rng = np.random.RandomState(0)
    windows = [jittered_window(rng, 30, 60, (20, 24), 20, False) for _ in range(4000)]
    scales, counts = np.unique([shape[0] for shape, _ in windows], return_counts=True)
    assert scales.tolist() == [20, 21, 22, 23, 24]
    assert abs(counts / 4000 - 0.2).max() < 0.03
    at_largest = np.array([corner for shape, corner in windows if shape == (24, 48)])
    assert np.unique(at_largest[:, 0]).tolist() == list(range(5))
    assert np.unique(at_largest[:, 1]).tolist() == list(range(29))
    in_square = {jittered_window(rng, 30, 60, (24, 24), 20, True)[1] for _ in range(500)}
    assert in_square == {(top, left) for top in range(5) for left in range(12, 17)}


def test_scale_jitter_scales_then_cuts():
    image, crop = photo(50, 75), ScaleJitter(size=24, short_side=(32, 40))
    (height, width), (top, left) = jittered_window(np.random.RandomState(3), 50, 75, (32, 40), 24, False)
    expected = resize_fast(image, height, width, "bilinear")[top : top + 24, left : left + 24]
    np.testing.assert_array_equal(cut(image, crop, np.random.RandomState(3)), expected)


@pytest.mark.parametrize("short_side", [(100, 200), (300, 256)])
def test_scale_jitter_refuses_scales_that_do_not_hold_the_window(short_side):
    with pytest.raises(ConfigError, match=r"^short_side must be the smaller length, at least size=224, then the larg"):
        ScaleJitter(short_side=short_side)


def test_a_plan_says_where_the_square_comes_from():
    # What a decoder needs: the box to read, and how far it is shrunk.
    centered = plan(CenterCrop(size=224, resize=256), 400, 500)
    assert centered.box == (0, 0, 400, 500)
    assert centered.shape == (256, 320)
    assert centered.corner == (16, 48)
    drawn = plan(RandomResizedCrop(size=20), 400, 500, np.random.RandomState(1))
    assert drawn.box == random_resized_box(np.random.RandomState(1), 400, 500, (0.08, 1.0), (3 / 4, 4 / 3))
    assert (drawn.shape, drawn.corner, drawn.size) == ((20, 20), (0, 0), 20)


def test_names_what_it_cannot_cut():
    with pytest.raises(CropError, match="40 by 20 pixels, too large to be padded to 32 by 32"):
        cut(photo(40, 20), Pad(size=32))
    with pytest.raises(CropError, match="too elongated"):
        cut(np.zeros((1, 1 << 20, 3), np.uint8), CenterCrop())
    with pytest.raises(CropError, match="1048576 by 1 pixels, too elongated to be scaled to 268435456 by 256"):
        with_short_side(np.zeros((1 << 20, 1, 1), np.uint8), 256, "bilinear")


def test_only_the_random_crops_are_random():
    assert is_random(RandomResizedCrop())
    assert is_random(ScaleJitter())
    assert not any(map(is_random, (Resize(), Pad(), CenterCrop())))
