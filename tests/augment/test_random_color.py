import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import config
from jaxcnn.augment import color, random_color
from jaxcnn.augment.compose import augment
from jaxcnn.config import ConfigError, Normalization

IMAGES = jnp.asarray(np.random.default_rng(0).integers(0, 256, (4, 20, 18, 3), np.uint8))
PLAIN = Normalization(mean=(0.0,), std=(1 / 255,))
BY_CHANCE = {
    config.RandomGrayscale: color.to_grayscale,
    config.RandomAutocontrast: color.autocontrast,
    config.RandomEqualize: color.equalize,
    config.RandomPosterize: lambda images: color.posterize(images, jnp.full(len(images), 4)),
    config.RandomSolarize: lambda images: color.solarize(images, jnp.full(len(images), 128.0)),
    config.RandomInvert: color.invert,
    config.RandomAdjustSharpness: lambda images: color.adjust_sharpness(images, jnp.full(len(images), 2.0)),
}


def keys_of(seed, count):
    return jax.random.split(jax.random.key(seed), count)


def apply(step, keys, images):
    labels = jnp.zeros(len(images), jnp.int32)
    return np.asarray(jax.jit(augment, static_argnums=(3, 4, 5))(keys, images, labels, (step,), PLAIN, 2)[0])


@pytest.mark.parametrize("kind", BY_CHANCE)
def test_changes_come_by_chance(kind):
    images = np.repeat(IMAGES[:1], 600, axis=0)
    found = apply(kind(probability=0.3), keys_of(1, 600), images)
    expected = np.asarray(BY_CHANCE[kind](IMAGES[:1]), np.float32)[0]
    changed = np.abs(found - expected).max((1, 2, 3)) < 0.01
    assert (changed | (np.abs(found - images).max((1, 2, 3)) < 0.01)).all()
    assert 130 < changed.sum() < 235  # 180 expected, 11 the standard deviation


@pytest.mark.parametrize("channels", [1, 3])
def test_an_images_fate_does_not_depend_on_its_batch(channels):
    steps = [
        config.ColorJitter(hue=0.3),
        config.GaussianBlur(kernel_size=3),
        config.RandomEqualize(),
        *([config.Lighting()] if channels == 3 else []),
    ]
    images, keys, labels = IMAGES[..., :channels], keys_of(3, 4), jnp.zeros(4, jnp.int32)
    apply_all = jax.jit(augment, static_argnums=(3, 4, 5))
    found = np.asarray(apply_all(keys, images, labels, tuple(steps), PLAIN, 2)[0])
    rolled = apply_all(jnp.roll(keys, 1), np.roll(images, 1, axis=0), labels, tuple(steps), PLAIN, 2)[0]
    np.testing.assert_array_equal(rolled, np.roll(found, 1, axis=0))
    assert (found != images).mean() > 0.5


@pytest.mark.parametrize("turned_after", [0, 1, 2, 3])
def test_jitter_does_the_four_in_the_order_asked_for(turned_after):
    orders = np.array([[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]])
    images = np.repeat(IMAGES[:1], 6, axis=0)
    factors = jnp.broadcast_to(jnp.float32([0.8, 1.4, 0.7]), (6, 3))
    turn = jnp.full(6, 0.2)
    found = jax.jit(random_color.jitter)(images, orders, factors, np.full(6, turned_after), turn)
    operations = (color.adjust_brightness, color.adjust_contrast, color.adjust_saturation)
    distinct = set()
    for order, image in zip(orders, np.asarray(found), strict=True):
        expected = IMAGES[:1]
        for number in range(4):
            if number == turned_after:
                expected = color.adjust_hue(expected, turn[:1])
            if number < 3:
                expected = operations[order[number]](expected, factors[:1, order[number]])
        # One level of brightness's rounding may become more.
        assert np.abs(np.asarray(expected)[0].astype(int) - image).max() <= 3
        assert (np.asarray(expected)[0] == image).mean() > 0.98
        distinct.add(image.tobytes())
    assert len(distinct) == 6


def test_jitter_draws_each_factor_from_its_range():
    even = np.full((4000, 1, 1, 1), 100, np.uint8)
    found = apply(config.ColorJitter(brightness=0.3, contrast=0.0), keys_of(0, 4000), even)[:, 0, 0, 0]
    assert found.min() in (69, 70, 71)
    assert found.max() in (129, 130)
    assert abs(found.mean() - 99.5) < 1.2  # the standard deviation of the mean is 0.27
    counts = np.histogram(found, bins=6, range=(70, 130))[0]
    assert np.abs(counts - 4000 / 6).max() < 120
    strong = apply(config.ColorJitter(brightness=3.0, contrast=0.0), keys_of(0, 4000), even)
    assert 0.35 < (strong == 255).mean() < 0.41  # of [0, 4], above 2.55
    np.testing.assert_array_equal(
        apply(config.ColorJitter(brightness=0.0, contrast=0.0, saturation=0.0), keys_of(0, 4), IMAGES), IMAGES
    )
    red = np.broadcast_to(np.uint8([200, 0, 0]), (1000, 1, 1, 3))
    turned = apply(config.ColorJitter(brightness=0.0, contrast=0.0, saturation=0.0, hue=0.1), keys_of(0, 1000), red)
    green, blue = turned[:, 0, 0, 1], turned[:, 0, 0, 2]
    assert ((green > 0) != (blue > 0)).mean() > 0.98
    assert 110 <= max(green.max(), blue.max()) <= 121  # 0.6 of 200
    assert 430 < (green > 0).sum() < 570


def test_jitter_comes_by_chance():
    images = np.repeat(IMAGES[:1], 600, axis=0)
    left = (apply(config.ColorJitter(probability=0.3), keys_of(1, 600), images) == images).all((1, 2, 3))
    assert 370 < left.sum() < 470


def test_lighting_shifts_along_the_principal_components():
    images = np.full((4000, 1, 1, 3), 128, np.uint8)
    shifts = apply(config.Lighting(), keys_of(0, 4000), images)[:, 0, 0] - 128
    vectors, values = np.array(random_color._EIGENVECTORS), np.array(random_color._EIGENVALUES)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(3), atol=2e-4)
    covariance = vectors @ np.diag((0.1 * 255 * values) ** 2) @ vectors.T
    np.testing.assert_allclose(np.cov(shifts.T), covariance + np.eye(3) / 12, atol=0.8)  # rounding's 1/12 besides
    assert np.abs(shifts.mean(0)).max() < 0.3
    np.testing.assert_array_equal(apply(config.Lighting(std=0.0), keys_of(0, 4), IMAGES), IMAGES)
    white = apply(config.Lighting(std=1.0), keys_of(0, 50), np.full((50, 1, 1, 3), 250, np.uint8))
    assert white.max() == 255
    assert white.min() > 20
    with pytest.raises(ConfigError, match="lighting changes RGB images, and these have 1 channel: leave it out"):
        random_color.lighting(keys_of(0, 4), IMAGES[..., :1], std=0.1)


def test_blur_draws_its_width_from_the_range():
    point = np.zeros((800, 9, 9, 1), np.uint8)
    point[:, 4, 4] = 255
    blurred = apply(config.GaussianBlur(kernel_size=5, sigma=(0.5, 1.0), probability=1.0), keys_of(0, 800), point)
    middle = blurred[:, 4, 4, 0] / 255
    weights = {sigma: np.exp(-0.5 * (np.arange(-2, 3) / sigma) ** 2) for sigma in (0.5, 0.75, 1.0)}
    highest, median, lowest = ((1 / weight.sum()) ** 2 for weight in weights.values())
    assert middle.max() == pytest.approx(highest, abs=0.01)
    assert middle.min() == pytest.approx(lowest, abs=0.01)
    assert np.median(middle) == pytest.approx(median, abs=0.02)
    left = apply(config.GaussianBlur(kernel_size=5, probability=0.3), keys_of(0, 800), np.repeat(IMAGES[:1], 800, 0))
    assert 500 < (left == IMAGES[:1]).all((1, 2, 3)).sum() < 690  # a Gaussian under 0.2 changes nothing either


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda: config.GaussianBlur(kernel_size=4),
            r"^kernel_size must be odd, so that the kernel has a middle, not 4$",
        ),
        (lambda: config.GaussianBlur(sigma=(0.0, 1.0)), r"^sigma\.0 must be greater than 0"),
        (lambda: config.ColorJitter(hue=0.6), r"^hue must be less than or equal to 0\.5"),
        (lambda: config.ColorJitter(contrast=-0.1), r"^contrast must be greater than or equal to 0"),
        (lambda: config.RandomPosterize(bits=9), r"^bits must be less than or equal to 8"),
        (lambda: config.RandomSolarize(threshold=256.0), r"^threshold must be less than or equal to 255"),
    ],
)
def test_wrong_options_are_refused_in_a_sentence(make, sentence):
    with pytest.raises(ConfigError, match=sentence):
        make()
