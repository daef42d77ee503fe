"""The random maps: what they draw, and that it is drawn an image."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.augment import geometric
from jaxcnn.augment.compose import augment, augmented_shape
from jaxcnn.config import (
    ConfigError,
    Cutout,
    HorizontalFlip,
    Normalization,
    RandomAffine,
    RandomErasing,
    RandomPerspective,
    RandomResizedCrop,
    RandomRotation,
    VerticalFlip,
)

SAMPLING = ("interpolation", "fill")
random_rotation = jax.jit(geometric.random_rotation, static_argnames=("degrees", *SAMPLING))
random_affine = jax.jit(
    geometric.random_affine, static_argnames=("degrees", "translate", "scale", "shear_x", "shear_y", *SAMPLING)
)
random_perspective = jax.jit(
    geometric.random_perspective, static_argnames=("distortion_scale", "probability", *SAMPLING)
)
STILL = {
    "degrees": (0.0, 0.0),
    "translate": (0.0, 0.0),
    "scale": (1.0, 1.0),
    "shear_x": (0.0, 0.0),
    "shear_y": (0.0, 0.0),
    "interpolation": "bilinear",
    "fill": (0,),
}


def keys_of(seed, count):
    return jax.random.split(jax.random.key(seed), count)


def middles(images):
    """Where the bright spot of each image is, in pixels from the middle: x and y."""
    levels = np.asarray(images, np.float64)[..., 0]
    height, width = levels.shape[1:]
    down, across = np.mgrid[:height, :width]
    total = levels.sum((1, 2))
    return (levels * across).sum((1, 2)) / total - (width - 1) / 2, (levels * down).sum((1, 2)) / total - (
        height - 1
    ) / 2


def spots(count, x, y, side=41):
    """Images with a bright spot at x and y pixels from the middle."""
    images = np.zeros((count, side, side, 1), np.uint8)
    images[:, side // 2 + y - 1 : side // 2 + y + 2, side // 2 + x - 1 : side // 2 + x + 2] = 200
    return images


def test_vertical_flip():
    images = np.random.default_rng(0).integers(0, 256, (2000, 3, 2, 1), np.uint8)
    flipped = np.asarray(geometric.vertical_flip(keys_of(0, 2000), jnp.asarray(images), probability=0.3))
    mirrored = (flipped == images[:, ::-1]).all((1, 2, 3))
    assert ((flipped == images).all((1, 2, 3)) | mirrored).all()
    assert 500 < mirrored.sum() < 700


def test_angles_are_uniform_and_counter_clockwise():
    turned = random_rotation(
        keys_of(0, 500), spots(500, 12, 0), degrees=(-20.0, 70.0), interpolation="bilinear", fill=(0,)
    )
    x, y = middles(turned)
    np.testing.assert_allclose(np.hypot(x, y), 12, atol=0.3)
    angles = np.rad2deg(np.arctan2(-y, x))
    assert angles.mean() == pytest.approx(25, abs=4 * 90 / np.sqrt(12 * 500))
    assert angles.std() == pytest.approx(90 / np.sqrt(12), rel=0.1)
    assert -22 < angles.min() < -17
    assert 67 < angles.max() < 72


def test_what_an_affine_map_draws():
    def affine(images, **options):
        return middles(random_affine(keys_of(1, 500), images, **STILL | options))

    x, y = affine(spots(500, 0, 0), translate=(0.3, 0.1))
    np.testing.assert_allclose([x, y], np.round([x, y]), atol=1e-6)  # whole pixels
    assert (x.min(), x.max(), y.min(), y.max()) == (-12, 12, -4, 4)
    assert abs(np.corrcoef(x, y)[0, 1]) < 0.15
    assert abs(x.mean()) < 1.3
    x, y = affine(spots(500, 0, 10), shear_x=(-30.0, 10.0))
    degrees = np.rad2deg(np.arctan2(-x, 10))
    np.testing.assert_allclose(y, 10, atol=0.1)
    assert (degrees.min(), degrees.max()) == pytest.approx((-30, 10), abs=1)
    x, y = affine(spots(500, 10, 0), shear_y=(-30.0, 10.0))
    degrees = np.rad2deg(np.arctan2(-y, 10))
    assert (degrees.min(), degrees.max()) == pytest.approx((-30, 10), abs=1)
    x, y = affine(spots(500, 10, 0), scale=(0.5, 1.5))
    assert (x.min(), x.max()) == pytest.approx((5, 15), abs=0.3)
    x, y = affine(spots(500, 10, 0), degrees=(0.0, 90.0))
    assert y.min() > -0.1  # clockwise
    assert y.max() > 9.5


def test_perspective_moves_corners_inward_or_leaves_the_image_alone():
    images = np.full((1000, 20, 30, 1), 255, np.uint8)
    options = {"interpolation": "nearest", "fill": (0,)}
    moved = np.asarray(random_perspective(keys_of(2, 1000), images, distortion_scale=0.4, probability=0.6, **options))
    uncovered = (moved == 0)[..., 0]
    assert 0.55 < uncovered.any((1, 2)).mean() < 0.65
    # Corners move by at most int(0.4 * 15) and int(0.4 * 10) pixels, and each of them does.
    assert not uncovered[:, 5:-5, 7:-7].any()
    for corner in (uncovered, uncovered[:, :, ::-1], uncovered[:, ::-1], uncovered[:, ::-1, ::-1]):
        assert corner[:, 2, 4].any()
        assert 0.5 < corner[:, 0, 0].mean() < 0.6  # 0.6 * (1 - 1 / 35) but for the rounding of half a pixel
    still = random_perspective(keys_of(2, 4), images[:4], distortion_scale=0.4, probability=0.0, **options)
    np.testing.assert_array_equal(still, images[:4])


def test_an_images_fate_does_not_depend_on_its_batch():
    images = np.random.default_rng(0).integers(0, 256, (4, 12, 12, 3), np.uint8)
    steps = (
        VerticalFlip(),
        RandomRotation(interpolation="bilinear"),
        RandomAffine(translate=(0.1, 0.1), fill=(1, 2, 3)),
        RandomPerspective(),
        RandomResizedCrop(size=9),
        HorizontalFlip(),
        RandomErasing(value="pixels"),
        Cutout(length=3),
    )
    run = jax.jit(
        lambda keys, images: augment(keys, images, jnp.zeros(len(images), jnp.int32), steps, Normalization(), 2)[0]
    )
    keys = keys_of(0, 4)
    whole = run(keys, images)
    assert whole.shape == (4, *augmented_shape((12, 12, 3), steps)) == (4, 9, 9, 3)
    np.testing.assert_allclose(run(keys[2:3], images[2:3])[0], whole[2], atol=1e-6)
    assert np.abs(np.asarray(run(keys[::-1], images))[0] - whole[0]).max() > 0.1


def test_the_shape_that_augmentations_make():
    assert augmented_shape((12, 14, 1), ()) == (12, 14, 1)
    assert augmented_shape((12, 14, 1), (RandomResizedCrop(size=7), VerticalFlip())) == (7, 7, 1)
    with pytest.raises(ConfigError, match="fill has 3 levels, and images have 1 channels"):
        augmented_shape((12, 14, 1), (RandomRotation(fill=(1, 2, 3)),))
