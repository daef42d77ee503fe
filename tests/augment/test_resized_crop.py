from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from jaxcnn.augment import resized_crop as module
from jaxcnn.config import RandomResizedCrop
from jaxcnn.data.crop import cut

random_resized_crop = jax.jit(module.random_resized_crop, static_argnames=("size", "scale", "ratio", "interpolation"))
resized_crop = jax.jit(module.resized_crop, static_argnames=("size", "interpolation"))
GOLDEN = np.load(Path(__file__).parent.parent / "golden" / "augment_geometric.npz")
IMAGES, BOXES = GOLDEN["images"], GOLDEN["boxes"]


def keys_of(seed, count):
    return jax.random.split(jax.random.key(seed), count)


@pytest.mark.parametrize(("mode", "share"), [("nearest", 0.0), ("bilinear", 0.04), ("bicubic", 0.01)])
def test_a_crop_is_torchvisions_to_one_level(mode, share):
    found = np.asarray(resized_crop(IMAGES, *BOXES.T, size=14, interpolation=mode))
    assert found.dtype == np.uint8
    difference = np.abs(found.astype(int) - GOLDEN[f"resized_crop_{mode}"])
    assert difference.max() <= 1
    assert (difference > 0).mean() <= share
    assert (difference[1:3] == 0).all()  # not scaled


@pytest.mark.parametrize(("mode", "share"), [("bilinear", 0.03), ("bicubic", 0.005), ("lanczos", 0.005)])
def test_a_crop_is_pillows_to_one_level(mode, share):
    found = np.asarray(resized_crop(IMAGES, *BOXES.T, size=20, interpolation=mode))
    boxes = [
        image[top : top + height, left : left + width]
        for image, (top, left, height, width) in zip(IMAGES, BOXES, strict=True)
    ]
    expected = [Image.fromarray(box).resize((20, 20), Image.Resampling[mode.upper()]) for box in boxes]
    difference = np.abs(found.astype(int) - np.stack([np.asarray(image) for image in expected]))
    assert difference.max() <= 1
    assert (difference > 0).mean() <= share


def test_boxes_are_drawn_as_the_hosts():
    # A linear ramp, so that where a box lay and how large it was can be told from what is left of it.
    down, across = np.mgrid[:80, :100]
    ramp = np.stack([down, across, down * 0], -1).astype(np.uint8) * np.array([3, 2, 0], np.uint8)
    crop = RandomResizedCrop(size=8, scale=(0.1, 0.6), ratio=(0.5, 1.5))

    def boxes(crops):
        slope = [
            np.diff(crops[..., channel].mean(axis).astype(float))[..., 1:6].mean(-1)
            for channel, axis in ((0, 2), (1, 1))
        ]
        height, width = slope[0] * 8 / 3, slope[1] * 8 / 2
        return np.stack([height * width / 8000, np.log(width / height), *crops.mean((1, 2))[:, :2].T])

    options = {"size": 8, "scale": crop.scale, "ratio": crop.ratio, "interpolation": "bilinear"}
    batch = np.broadcast_to(ramp, (1000, *ramp.shape))
    ours = boxes(np.asarray(random_resized_crop(keys_of(0, 1000), batch, **options)))
    rng = np.random.RandomState(0)
    hosts = boxes(np.stack([cut(ramp, crop, rng) for _ in range(1000)]))
    error = np.sqrt((ours.var(1) + hosts.var(1)) / 1000)
    assert (np.abs(ours.mean(1) - hosts.mean(1)) < 4 * error).all()
    np.testing.assert_allclose(ours.std(1), hosts.std(1), rtol=0.1)
    np.testing.assert_allclose(
        np.percentile(ours, (1, 99), axis=1), np.percentile(hosts, (1, 99), axis=1), rtol=0.12, atol=0.03
    )


@pytest.mark.parametrize(("shape", "box"), [((40, 6), (16, 0, 8, 6)), ((6, 40), (0, 16, 6, 8))])
def test_the_largest_allowed_box_in_the_middle_where_none_fits(shape, box):
    images = np.random.default_rng(0).integers(0, 256, (2, *shape, 1), np.uint8)
    options = {"size": 5, "interpolation": "bilinear"}
    found = random_resized_crop(keys_of(0, 2), images, scale=(0.9, 1.0), ratio=(3 / 4, 4 / 3), **options)
    expected = resized_crop(images, *np.broadcast_to(np.array(box)[:, None], (4, 2)), **options)
    np.testing.assert_array_equal(found, expected)


def test_the_whole_image_is_left_as_it_is():
    square = IMAGES[:, :17, :17]
    whole = random_resized_crop(
        keys_of(0, 9), square, size=17, scale=(1.0, 1.0), ratio=(1.0, 1.0), interpolation="bicubic"
    )
    np.testing.assert_array_equal(whole, square)
