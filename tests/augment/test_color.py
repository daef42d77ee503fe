from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxcnn.augment import color
from jaxcnn.config import ConfigError

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "augment_color.npz")
OPERATIONS = {
    # Largest share of the values, RGB and grey, that may be one level apart, for any parameter.
    "adjust_brightness": (color.adjust_brightness, 0, 0),
    "adjust_contrast": (color.adjust_contrast, 0, 0.25),  # an even image stays even here
    "adjust_saturation": (color.adjust_saturation, 0.08, 0),  # where the exact result is whole, as often for 1.3
    "adjust_sharpness": (color.adjust_sharpness, 0.002, 0.002),
    "adjust_hue": (color.adjust_hue, 0.001, 0),
    "posterize": (color.posterize, 0, 0),
    "solarize": (color.solarize, 0, 0),
    "gaussian_blur": (lambda images, sigma: color.gaussian_blur(images, sigma, kernel_size=7), 0.001, 0.001),
    "to_grayscale": (lambda images, _: color.to_grayscale(images), 0, 0),
    "autocontrast": (lambda images, _: color.autocontrast(images), 0.001, 0.001),
    "equalize": (lambda images, _: color.equalize(images), 0, 0),
    "invert": (lambda images, _: color.invert(images), 0, 0),
}


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("channels", [1, 3])
def test_operations_equal_torchvision(name, channels):
    function, *shares = OPERATIONS[name]
    if channels == 3:
        images, expected, share = GOLDEN["images"], GOLDEN[name], shares[0]
    else:
        images, expected, share = GOLDEN["images"][..., 1:2], GOLDEN[f"grey_{name}"], shares[1]
    parameters = GOLDEN[f"{name}_parameters"]
    # Each image beside others that take another parameter.
    batch = np.broadcast_to(images, expected.shape).reshape(-1, *images.shape[1:])
    dtype = np.int32 if parameters.dtype.kind == "i" else np.float32
    found = np.asarray(jax.jit(function)(batch, np.repeat(parameters, len(images)).astype(dtype)))
    assert found.dtype == np.uint8
    difference = np.abs(found.reshape(expected.shape).astype(int) - expected)
    assert difference.max() <= (share > 0)
    assert (difference > 0).mean((1, 2, 3, 4)).max() <= share


def test_blends_differ_from_torchvision_only_where_the_result_is_whole():
    factors = GOLDEN["adjust_saturation_parameters"].reshape(-1, 1, 1, 1, 1)
    pixels = jnp.asarray(GOLDEN["images"])
    images = GOLDEN["images"].astype(np.float64)[None]
    luma = np.asarray(color.grey(pixels), np.float64)[None]
    exact = np.clip(images * factors + luma * (1 - factors), 0, 255)
    found = np.stack([color.adjust_saturation(pixels, jnp.full(4, factor)) for factor in factors.ravel()])
    apart = found != GOLDEN["adjust_saturation"]
    assert apart.any()
    assert np.abs(exact - np.round(exact))[apart].max() < 1e-4


IMAGES = np.random.default_rng(0).integers(0, 256, (3, 6, 7, 3), np.uint8)
jitted = {name: jax.jit(function) for name, (function, *_) in OPERATIONS.items()}
tabled = jax.jit(lambda images: color.apply_tables(images, color.levels(images)))
color_images = st.integers(0, 2**31 - 1).map(
    lambda seed: np.random.default_rng(seed).integers(0, 256, IMAGES.shape, np.uint8)
)


@settings(max_examples=15, deadline=None)
@given(color_images)
def test_identity_parameters_change_nothing(images):
    one, zero = jnp.ones(3), jnp.zeros(3)
    for name in ("adjust_brightness", "adjust_contrast", "adjust_saturation", "adjust_sharpness"):
        np.testing.assert_array_equal(jitted[name](images, one), images)
    np.testing.assert_array_equal(jitted["adjust_hue"](images, zero), images)
    np.testing.assert_array_equal(jitted["posterize"](images, jnp.full(3, 8)), images)
    np.testing.assert_array_equal(color.solarize(jnp.asarray(images), jnp.full(3, 255.5)), images)
    np.testing.assert_array_equal(color.invert(color.invert(jnp.asarray(images))), images)
    np.testing.assert_array_equal(tabled(images), images)


@settings(max_examples=10, deadline=None)
@given(color_images)
def test_hue_turns_around(images):
    images[..., 2] = np.minimum(images[..., 0], images[..., 1]) // 2  # saturated enough for a hue to be told
    third = jitted["adjust_hue"](images, jnp.full(3, 1 / 3))
    assert np.abs(np.asarray(third).astype(int) - np.roll(images, 1, axis=-1)).max() <= 1  # red becomes green


def test_even_images_stay_even():
    images = np.broadcast_to(np.arange(256, dtype=np.uint8).reshape(-1, 1, 1, 1), (256, 3, 4, 1))
    for factor in (0.0, 0.3, 1.3, 1.9):
        for change in (color.adjust_contrast, color.adjust_sharpness):
            np.testing.assert_array_equal(jax.jit(change)(images, jnp.full(256, factor)), images)
    np.testing.assert_array_equal(jax.jit(color.autocontrast)(images), images)
    np.testing.assert_array_equal(jax.jit(color.equalize)(images), images)


def test_small_images_have_no_inside_to_sharpen():
    images = IMAGES[:, :2]
    np.testing.assert_array_equal(jax.jit(color.adjust_sharpness)(images, jnp.zeros(3)), images)


@settings(max_examples=10, deadline=None)
@given(color_images)
def test_histograms_count(images):
    found = np.asarray(jax.jit(color.histograms)(images))
    for image, counts in zip(images, found, strict=True):
        for channel in range(3):
            np.testing.assert_array_equal(counts[:, channel], np.bincount(image[..., channel].ravel(), minlength=256))


def test_histograms_by_products_are_the_same():
    """The TPU's way, with several pieces."""
    images = np.random.default_rng(0).integers(0, 256, (2, 70, 61, 1), np.uint8)
    found = np.asarray(jax.jit(color.histograms_by_products)(images))
    for image, counts in zip(images, found, strict=True):
        np.testing.assert_array_equal(counts[:, 0], np.bincount(image.ravel(), minlength=256))


def test_tables_are_per_image_and_channel():
    tables = np.random.default_rng(1).integers(0, 256, (3, 256, 3), np.uint8)
    found = np.asarray(color.apply_tables(jnp.asarray(IMAGES), jnp.asarray(tables)))
    for image in range(3):
        for channel in range(3):
            np.testing.assert_array_equal(
                found[image, ..., channel], tables[image, IMAGES[image, ..., channel], channel]
            )


def test_tables_of_levels_do_what_the_operations_do():
    images = jnp.asarray(IMAGES)
    levels, mapped = color.levels(images), jax.jit(color.apply_tables)
    several = [
        (color.adjust_brightness, jnp.array([0.3, 1.0, 1.7])),
        (color.posterize, jnp.array([1, 4, 8])),
        (color.solarize, jnp.array([0.0, 77.0, 255.0])),
    ]
    for function, parameter in several:
        found = mapped(images, function(levels, parameter))
        np.testing.assert_array_equal(found, function(images, parameter))
    found = mapped(images, color.stretch(levels, *color.extremes(images)))
    np.testing.assert_array_equal(found, color.autocontrast(images))


def test_gaussians_that_do_not_fit_are_refused():
    images = jnp.asarray(IMAGES)
    with pytest.raises(ConfigError, match=r"kernel_size must be at most 11 for images of 6x7 pixels, not 13"):
        color.gaussian_blur(images, jnp.ones(3), kernel_size=13)
    fits = jax.eval_shape(lambda: color.gaussian_blur(images, jnp.ones(3), kernel_size=11))
    assert fits.shape == IMAGES.shape
