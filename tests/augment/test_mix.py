import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.augment.compose import augment, check_order, mixes
from jaxcnn.augment.mix import cutmix, mixup, mixup_or_cutmix
from jaxcnn.config import ConfigError, CutMix, HorizontalFlip, MixUp, MixUpOrCutMix, Normalization

BATCH, CLASSES = 5, 7
TARGETS = jnp.eye(CLASSES)[:BATCH]
# An image is its number, everywhere, so that what is mixed can be told.
IMAGES = jnp.broadcast_to(jnp.arange(BATCH, dtype=jnp.float32)[:, None, None, None], (BATCH, 12, 20, 3))


def many(function, count, **options):
    """Images and targets of many draws."""
    draws = jax.random.split(jax.random.key(0), (count, BATCH))
    return jax.jit(jax.vmap(lambda keys: function(keys, IMAGES, TARGETS, **options)))(draws)


def share_of(targets):
    """What each draw leaves of the images' own targets; every target must say the same, and name the neighbour."""
    own = targets[:, np.arange(BATCH), np.arange(BATCH)]
    np.testing.assert_allclose(own, np.broadcast_to(own[:, :1], own.shape), atol=1e-6)
    neighbours = targets[:, np.arange(BATCH), np.arange(-1, BATCH - 1) % BATCH]
    np.testing.assert_allclose(own + neighbours, 1, atol=1e-6)
    return np.asarray(own[:, 0])


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_mixup_blends_images_as_targets_and_draws_from_beta(alpha):
    images, targets = many(mixup, 4000, alpha=alpha, probability=1.0)
    share = share_of(targets)
    expected = share[:, None] * np.arange(BATCH) + (1 - share)[:, None] * (np.arange(-1, BATCH - 1) % BATCH)
    np.testing.assert_allclose(images.reshape(4000, BATCH, -1)[..., 0], expected, atol=1e-5)
    np.testing.assert_allclose(images, np.broadcast_to(images[..., :1, :1, :1], images.shape), atol=1e-6)
    variance = 1 / (4 * (2 * alpha + 1))
    assert share.mean() == pytest.approx(0.5, abs=4 * np.sqrt(variance / 4000))
    assert share.var() == pytest.approx(variance, rel=0.1)


def test_cutmix_pastes_one_box_and_targets_go_by_its_area():
    images, targets = many(cutmix, 4000, alpha=1.0, probability=1.0)
    share = share_of(targets)
    pasted = np.asarray(images[:, 1, :, :, 0] == 0)  # image 1 has image 0 for a neighbour
    assert (np.asarray(images[:, 1] == 1) == ~pasted[..., None]).all()
    np.testing.assert_allclose(1 - pasted.mean((1, 2)), share, atol=1e-6)
    rows, columns = pasted.any(2), pasted.any(1)
    assert (pasted == rows[:, :, None] & columns[:, None]).all()
    for line in (rows, columns):  # without gaps
        assert (np.abs(np.diff(np.pad(line, ((0, 0), (1, 1))).astype(int), axis=1)).sum(1) <= 2).all()
    # Half of the area is cut on the average, less what sticks out and what rounding to whole pixels takes.
    assert 0.55 < share.mean() < 0.75
    assert share.min() < 0.3
    np.testing.assert_allclose(pasted.mean(0), pasted.mean(0)[::-1, ::-1], atol=0.06)


@pytest.mark.parametrize("function", [mixup, cutmix])
def test_a_batch_is_left_alone_as_often_as_asked(function):
    share = share_of(many(function, 4000, alpha=1.0, probability=0.25)[1])
    alone = (share == 1).mean()
    # A box may also be less than a pixel.
    assert 0.72 < alone < 0.83
    images, targets = many(function, 3, alpha=1.0, probability=0.0)
    np.testing.assert_array_equal(images[1], IMAGES)
    np.testing.assert_array_equal(targets[1], TARGETS)


def test_one_of_the_two_by_chance():
    options = {"mixup_alpha": 1.0, "cutmix_alpha": 1.0, "cutmix_probability": 0.3, "probability": 1.0}
    images, targets = many(mixup_or_cutmix, 2000, **options)
    share_of(targets)
    whole = np.asarray((images == jnp.round(images)).all((1, 2, 3, 4)))
    assert 0.26 < whole.mean() < 0.34


def test_the_draw_is_of_the_batchs_first_image():
    keys = jax.random.split(jax.random.key(3), BATCH)
    others = jnp.concatenate([keys[:1], jax.random.split(jax.random.key(4), BATCH - 1)])
    steps, labels = (HorizontalFlip(probability=0.0), MixUpOrCutMix()), jnp.arange(BATCH)
    pixels = jnp.uint8(IMAGES)
    mixed = jax.jit(lambda keys: augment(keys, pixels, labels, steps, Normalization(), CLASSES))
    found = [mixed(each) for each in (keys, others, keys[::-1])]
    np.testing.assert_array_equal(found[0][1], found[1][1])
    np.testing.assert_array_equal(found[0][0], found[1][0])
    assert not np.array_equal(found[0][1], found[2][1])
    assert found[0][1].shape == (BATCH, CLASSES)


def test_targets_stay_labels_without_mixing():
    keys = jax.random.split(jax.random.key(3), BATCH)
    images, labels = augment(keys, jnp.uint8(IMAGES), jnp.arange(BATCH), (), Normalization(), CLASSES)
    assert images.dtype == jnp.float32
    np.testing.assert_array_equal(labels, np.arange(BATCH))
    assert not mixes((HorizontalFlip(),))
    assert mixes((HorizontalFlip(), CutMix()))


def test_the_order_is_checked():
    check_order((HorizontalFlip(), MixUp(), CutMix()))
    with pytest.raises(
        ConfigError, match=r"augmentations\.1, horizontal_flip, cannot come after mixup: move it before"
    ):
        check_order((MixUp(), HorizontalFlip()))
