import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxcnn.augment.compose import augment, normalize
from jaxcnn.augment.geometric import horizontal_flip, random_crop
from jaxcnn.config import HorizontalFlip, Normalization, RandomCrop


def keys_of(seed, count):
    return jax.random.split(jax.random.key(seed), count)


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 3), st.integers(0, 255), st.integers(0, 2**31 - 1))
def test_random_crop_is_a_window_of_the_padded_image(padding, fill, seed):
    images = np.random.default_rng(seed).integers(0, 256, (6, 5, 7, 2), np.uint8)
    cropped = np.asarray(random_crop(keys_of(seed, 6), jnp.asarray(images), padding=padding, fill=fill))
    assert cropped.dtype == np.uint8
    sides = ((padding, padding), (padding, padding), (0, 0))
    for image, found in zip(images, cropped, strict=True):
        padded = np.pad(image, sides, constant_values=fill)
        windows = np.lib.stride_tricks.sliding_window_view(padded, image.shape).reshape(-1, *image.shape)
        assert (windows == found).all((1, 2, 3)).any()


def test_random_crop_reaches_every_offset_evenly():
    images = np.zeros((4000, 5, 5, 1), np.uint8)
    images[:, 2, 2] = 1
    cropped = np.asarray(random_crop(keys_of(0, 4000), jnp.asarray(images), padding=2))
    counts = cropped.sum(0)[..., 0]
    assert counts.sum() == 4000
    assert counts.min() > 100
    assert counts.max() < 230  # 160 is expected of each of 25


def test_horizontal_flip():
    images = jnp.asarray(np.random.default_rng(0).integers(0, 256, (2000, 2, 3, 1), np.uint8))
    flipped = np.asarray(horizontal_flip(keys_of(0, 2000), images, probability=0.3))
    mirrored = (flipped == images[:, :, ::-1]).all((1, 2, 3))
    assert ((flipped == images).all((1, 2, 3)) | mirrored).all()
    assert 500 < mirrored.sum() < 700
    np.testing.assert_array_equal(horizontal_flip(keys_of(0, 9), images[:9], probability=0.0), images[:9])
    np.testing.assert_array_equal(horizontal_flip(keys_of(0, 9), images[:9], probability=1.0), images[:9, :, ::-1])


def test_an_images_fate_does_not_depend_on_its_batch():
    images = jnp.asarray(np.random.default_rng(0).integers(0, 256, (8, 6, 6, 3), np.uint8))
    steps = (RandomCrop(padding=2), HorizontalFlip(), RandomCrop(padding=1))
    keys = keys_of(0, 8)
    labels = jnp.zeros(8, jnp.int32)
    plain = Normalization(mean=(0.0,), std=(1.0,))
    whole, _ = augment(keys, images, labels, steps, plain, 2)
    for index in (0, 5):
        one = slice(index, index + 1)
        alone, _ = augment(keys[one], images[one], labels[one], steps, plain, 2)
        np.testing.assert_array_equal(alone[0], whole[index])
    assert not np.array_equal(whole, normalize(images, plain))
    np.testing.assert_array_equal(augment(keys, images, labels, (), plain, 2)[0], normalize(images, plain))


def test_normalize():
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 3, 3), np.uint8)
    found = normalize(jnp.asarray(images), Normalization())
    expected = (images / 255 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)
    grey = normalize(jnp.asarray(images), Normalization(mean=(0.5,), std=(0.5,)))
    np.testing.assert_allclose(grey, images / 127.5 - 1, atol=1e-5)
