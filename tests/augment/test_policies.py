from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import config
from jaxcnn.augment import operations as kernel
from jaxcnn.augment import policies
from jaxcnn.augment.compose import augment
from jaxcnn.augment.policy_tables import (
    AUG_MIX_ALL,
    AUG_MIX_PAPER,
    AUTO_AUGMENT,
    AUTO_AUGMENT_POLICIES,
    OPERATIONS,
    RAND_AUGMENT,
    RAND_AUGMENT_INCREASING,
    TRIVIAL_AUGMENT_WIDE,
)
from jaxcnn.config import ConfigError, Normalization

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "augment_policies.npz")
SPACES = {
    "auto_augment": AUTO_AUGMENT,
    "rand_augment": RAND_AUGMENT,
    "trivial_augment_wide": TRIVIAL_AUGMENT_WIDE,
    "aug_mix": AUG_MIX_ALL,
    "aug_mix_paper": AUG_MIX_PAPER,
}
IDENTITY = OPERATIONS.index("identity")


def run(function):
    return jax.jit(function, static_argnames=("interpolation", "fill"))


def keys_of(seed, count):
    return jax.random.split(jax.random.key(seed), count)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_one_kernel_does_what_torchvision_does(interpolation):
    names = [name.partition("_")[2] for name in GOLDEN.files if name.startswith(f"{interpolation}_")]
    assert len(names) == (15 if interpolation == "nearest" else 5)
    cases = [(name, amount) for name in names for amount in GOLDEN[f"{name}_amounts"]]
    expected = np.concatenate([GOLDEN[f"{interpolation}_{name}"] for name in names]).astype(int)
    # All in one batch: every image gets another operation than its neighbours.
    operations, amounts = zip(*cases, strict=True)
    operations = np.repeat([OPERATIONS.index(name) for name in operations], 2)
    amounts = np.repeat(
        np.where(np.char.startswith([name for name, _ in cases], "translate"), np.trunc(amounts), amounts), 2
    )
    images = np.tile(GOLDEN["images"], (len(cases), 1, 1, 1))
    options = {"interpolation": interpolation, "fill": tuple(int(level) for level in GOLDEN["fill"])}
    arguments = images, operations[:, None], amounts[:, None].astype(np.float32)
    found = np.asarray(run(kernel.step_by_step)(*arguments, **options))
    np.testing.assert_array_equal(run(kernel.image_by_image)(*arguments, **options), found)
    difference = np.abs(found.reshape(expected.shape) - expected)
    for (name, amount), each in zip(cases, difference, strict=True):
        exact = {"identity", "posterize", "solarize", "equalize", "invert"}
        assert each.max() <= (name not in exact), (name, amount)
        assert (each > 0).mean() < 0.03, (name, amount)  # color at 1.9: where the exact result is whole


@pytest.mark.slow
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
@pytest.mark.parametrize("channels", [1, 3])
def test_images_change_alike_alone_and_together(interpolation, channels):
    random = np.random.default_rng(channels)
    for height, width, steps in ((1, 1, 1), (37, 50, 2), (224, 224, 3)):
        images = random.integers(0, 256, (48, height, width, channels), np.uint8)
        images[::7] //= 4  # there is something to stretch
        operations = random.integers(0, len(OPERATIONS), (48, steps))
        shares, negated = random.random((48, steps)), random.random((48, steps)) < 0.5
        widest = {**RAND_AUGMENT_INCREASING, **TRIVIAL_AUGMENT_WIDE}
        choices = np.array([list(widest).index(name) for name in OPERATIONS])[operations]
        amounts = kernel.amounts_of(widest, *map(jnp.asarray, (choices, shares, negated)), height, width)
        options = {"interpolation": interpolation, "fill": (9,)}
        found = run(kernel.image_by_image)(images, operations, amounts, **options)
        np.testing.assert_array_equal(found, run(kernel.step_by_step)(images, operations, amounts, **options))


@pytest.mark.parametrize("devices", [1, 2])
def test_images_go_one_by_one_where_there_is_one_device(devices, monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: devices)
    images, drawn = jnp.zeros((5, 8, 8, 3), jnp.uint8), jnp.zeros((5, 2), jnp.int32)
    options = {"interpolation": "nearest", "fill": (0,)}
    traced = jax.make_jaxpr(lambda *arguments: kernel.apply_operations(*arguments, **options))(
        images, drawn, drawn.astype(jnp.float32)
    )
    assert ("length=5" in str(traced)) == (devices == 1)  # a loop over the images, beside that over the two steps


@pytest.mark.parametrize("name", SPACES)
def test_amounts_equal_torchvisions(name):
    space = SPACES[name]
    cases = [key.split() for key in GOLDEN.files if key.startswith(f"{name} ")]
    assert {operation for _, operation, _ in cases} == set(space)
    for _, operation, size in cases:
        expected = GOLDEN[f"{name} {operation} {size}"]
        height, width = map(int, size.split("x"))
        bins = expected.shape[1]
        if name == "trivial_augment_wide" and operation.startswith("translate"):
            # 15/30 of 32 pixels are 16; PyTorch's linspace is a little less, and torchvision cuts it to 15.
            np.testing.assert_array_equal(np.abs(expected[:, 15]), 15)
            expected[:, 15] = np.sign(expected[:, 15]) * 16
        choices = np.full((2, bins), list(space).index(operation))
        shares = np.broadcast_to(np.arange(bins) / np.float32(bins - 1), (2, bins)).astype(np.float32)
        negated = np.broadcast_to([[False], [True]], (2, bins))
        found = kernel.amounts_of(space, *map(jnp.asarray, (choices, shares, negated)), height, width)
        if operation == "solarize":  # torchvision's 51.000004 is 51 here
            expected = np.ceil(expected - 1e-4)
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6, err_msg=f"{operation} {size}")


def test_amounts_of_the_increasing_set_are_timms():
    expected = {
        "rotate": 27.0,
        "posterize": 1.0,  # 4 - int(0.9 * 4)
        "solarize": 26.0,  # 256 - int(0.9 * 256)
        "solarize_add": 99.0,
        "brightness": 0.81,
        "color": 0.81,
        "contrast": 0.81,
        "sharpness": 0.81,
        "shear_x": 0.27,
        "shear_y": 0.27,
        "translate_x": 0.45 * 0.9 * 200,
        "translate_y": 0.45 * 0.9 * 100,
    }
    names = list(RAND_AUGMENT_INCREASING)
    assert set(names) == set(expected) | {"autocontrast", "equalize", "invert"}
    share, no = jnp.full(len(names), 0.9), jnp.zeros(len(names), bool)
    found = kernel.amounts_of(RAND_AUGMENT_INCREASING, jnp.arange(len(names)), share, no, 100, 200)
    np.testing.assert_allclose([found[names.index(name)] for name in expected], list(expected.values()), rtol=1e-6)
    for share, ends in ((0.0, (4, 256, 0)), (1.0, (0, 0, 110))):
        choices = jnp.array([names.index(name) for name in ("posterize", "solarize", "solarize_add")])
        found = kernel.amounts_of(RAND_AUGMENT_INCREASING, choices, jnp.full(3, share), no[:3], 100, 200)
        np.testing.assert_array_equal(found, ends)


def test_solarize_add():
    images = np.array([0, 20, 127, 128, 255], np.uint8).reshape(1, 1, 5, 1)
    operation = jnp.array([OPERATIONS.index("solarize_add")])
    found = run(kernel.apply_operation)(images, operation, jnp.array([99.0]), interpolation="nearest", fill=(0,))
    assert np.asarray(found).ravel().tolist() == [99, 119, 226, 128, 255]


@pytest.mark.parametrize("policy", AUTO_AUGMENT_POLICIES)
def test_the_tables_of_auto_augment_are_torchvisions(policy):
    expected = [
        [(name, float(chance), int(magnitude.replace("None", "0"))) for name, chance, magnitude in pair]
        for pair in GOLDEN[policy].tolist()
    ]
    assert [list(pair) for pair in AUTO_AUGMENT_POLICIES[policy]] == expected
    assert len(expected) == 25


def draw(function, seed, count, height, width, **options):
    drawn = jax.jit(lambda keys: function(keys, height, width, **options))(keys_of(seed, count))
    return [np.asarray(each) for each in drawn]


def chi_square(counts, probabilities):
    """How many standard deviations the statistic is above its mean; what cannot happen must not have."""
    counts, probabilities = np.ravel(counts), np.ravel(probabilities)
    assert counts[probabilities == 0].sum() == 0
    counts, probabilities = counts[probabilities > 0], probabilities[probabilities > 0]
    expected = counts.sum() * probabilities
    assert expected.min() > 5
    freedom = len(counts) - 1
    return (((counts - expected) ** 2 / expected).sum() - freedom) / np.sqrt(2 * freedom)


def pairs_of(operations):
    """How often each pair of operations came, (operations, operations)."""
    counts = np.zeros((len(OPERATIONS), len(OPERATIONS)), int)
    np.add.at(counts, tuple(operations.T), 1)
    return counts


@pytest.mark.parametrize("policy", AUTO_AUGMENT_POLICIES)
def test_auto_augment_draws_from_its_table(policy):
    probabilities = np.zeros((len(OPERATIONS), len(OPERATIONS)))
    for (first, first_chance, _), (second, second_chance, _) in AUTO_AUGMENT_POLICIES[policy]:
        for one, one_chance in ((OPERATIONS.index(first), first_chance), (IDENTITY, 1 - first_chance)):
            for two, two_chance in ((OPERATIONS.index(second), second_chance), (IDENTITY, 1 - second_chance)):
                probabilities[one, two] += one_chance * two_chance / 25
    operations, amounts = draw(policies.draw_auto_augment, 0, 20000, 331, 331, policy=policy)
    assert chi_square(pairs_of(operations), probabilities) < 4
    for name, row in AUTO_AUGMENT.items():
        drawn = amounts[operations == OPERATIONS.index(name)]
        magnitudes = sorted(
            {m for pair in AUTO_AUGMENT_POLICIES[policy] for n, chance, m in pair if n == name and chance}
        )
        if not magnitudes or name in ("autocontrast", "equalize", "invert"):
            continue
        choices = np.full(len(magnitudes), list(AUTO_AUGMENT).index(name))
        shares, plus = np.float32(magnitudes) / 9, np.zeros(len(magnitudes), bool)
        expected = kernel.amounts_of(AUTO_AUGMENT, *map(jnp.asarray, (choices, shares, plus)), 331, 331)
        expected = np.asarray(expected)
        both = np.union1d(expected, -expected) if row.signed else np.unique(expected)
        np.testing.assert_allclose(np.unique(np.round(drawn, 4)), np.unique(np.round(both, 4)), rtol=1e-4)
        if row.signed and expected.min() > 0:
            assert abs((drawn > 0).mean() - 0.5) < 2 / np.sqrt(len(drawn))


def choices_in(space, operations):
    return np.array([list(space).index(name) if name in space else -1 for name in OPERATIONS])[operations]


def test_rand_augment_draws_evenly():
    options = {"num_magnitude_bins": 31, "magnitude_std": 0.0, "increasing": False, "probability": 1.0}
    operations, amounts = draw(policies.draw_rand_augment, 0, 20000, 224, 331, num_ops=2, magnitude=9, **options)
    choices = choices_in(RAND_AUGMENT, operations)
    counts = np.zeros((14, 14), int)
    np.add.at(counts, tuple(choices.T), 1)
    assert chi_square(counts, np.full((14, 14), 1 / 196)) < 4
    expected = {"rotate": 9, "translate_x": 45, "translate_y": 30, "shear_y": 0.09, "color": 0.27}  # 30.45 cut to 30
    for name, amount in expected.items():
        drawn = amounts[operations == OPERATIONS.index(name)]
        np.testing.assert_allclose(np.abs(drawn), amount, rtol=1e-6)
        assert abs((drawn > 0).mean() - 0.5) < 0.04
    np.testing.assert_array_equal(amounts[operations == OPERATIONS.index("posterize")], 7)
    np.testing.assert_array_equal(amounts[operations == OPERATIONS.index("solarize")], 179)


def test_rand_augment_of_the_increasing_set():
    options = {"num_magnitude_bins": 11, "magnitude_std": 0.5, "increasing": True, "probability": 0.5}
    operations, amounts = draw(policies.draw_rand_augment, 0, 20000, 100, 200, num_ops=2, magnitude=9.0, **options)
    counts = np.bincount(operations.ravel(), minlength=16)
    probabilities = np.full(16, 0.5 / 15)
    probabilities[IDENTITY] = 0.5
    assert chi_square(counts, probabilities) < 4
    for name, largest in (("rotate", 30), ("shear_x", 0.3), ("translate_x", 90), ("translate_y", 45)):
        magnitudes = np.abs(amounts[operations == OPERATIONS.index(name)]) * 10 / largest
        assert magnitudes.max() == pytest.approx(10)  # a normal draw of 2.3 % is above
        assert np.median(magnitudes) == pytest.approx(9, abs=0.06)
        assert np.quantile(magnitudes, 0.1587) == pytest.approx(8.5, abs=0.08)


def test_trivial_augment_draws_evenly():
    operations, amounts = draw(policies.draw_trivial_augment_wide, 0, 30000, 64, 64, num_magnitude_bins=31)
    operations, amounts = operations[:, 0], amounts[:, 0]
    assert chi_square(np.bincount(choices_in(TRIVIAL_AUGMENT_WIDE, operations)), np.full(14, 1 / 14)) < 4
    for name, largest in (("rotate", 135), ("shear_y", 0.99), ("contrast", 0.99), ("translate_x", 32)):
        drawn = amounts[operations == OPERATIONS.index(name)] / largest
        assert np.abs(drawn).max() == pytest.approx(1)
        assert abs(drawn.mean()) < 0.05
        if name != "translate_x":
            bins = np.round(np.abs(drawn) * 30)
            np.testing.assert_allclose(bins, np.abs(drawn) * 30, atol=1e-4)
            assert chi_square(np.bincount(bins.astype(int), minlength=31), np.full(31, 1 / 31)) < 4


@pytest.mark.parametrize("all_ops", [False, True])
def test_aug_mix_draws_chains(all_ops):
    options = {"severity": 3, "mixture_width": 2, "chain_depth": None, "all_ops": all_ops}
    operations, amounts = draw(policies.draw_aug_mix, 0, 10000, 90, 90, **options)
    assert operations.shape == (10000, 2, 3)
    depths = (operations != IDENTITY).sum(-1)
    assert (np.diff(operations == IDENTITY, axis=-1) >= 0).all()  # identities last
    counts = np.zeros((3, 3), int)
    np.add.at(counts, tuple(depths.T - 1), 1)
    assert chi_square(counts, np.full((3, 3), 1 / 9)) < 4
    space = AUG_MIX_ALL if all_ops else AUG_MIX_PAPER
    done = choices_in(space, operations[operations != IDENTITY])
    assert chi_square(np.bincount(done), np.full(len(space), 1 / len(space))) < 4
    angles = np.abs(amounts[operations == OPERATIONS.index("rotate")])
    values, counts = np.unique(np.round(angles, 3), return_counts=True)
    np.testing.assert_allclose(values, [0, 30 / 9, 60 / 9], atol=1e-3)
    assert chi_square(counts, np.full(3, 1 / 3)) < 4
    deep, _ = draw(policies.draw_aug_mix, 0, 10, 90, 90, **{**options, "chain_depth": 5})
    assert deep.shape == (10, 2, 5)
    assert (deep != IDENTITY).all()


PLAIN = Normalization(mean=(0.0,), std=(1 / 255,))
run_augment = jax.jit(augment, static_argnums=(3, 4, 5))


def apply(step, keys, images):
    return np.asarray(run_augment(keys, images, jnp.zeros(len(images), jnp.int32), (step,), PLAIN, 2)[0])


def test_aug_mix_weighs_chains_and_image():
    # At the lowest severity nothing happens to white but that one of nine operations makes it black (solarize, from 255
    # on) and one takes its lower four bits (posterize).
    white = np.full((4000, 3, 3, 1), 255, np.uint8)
    step = config.AugMix(severity=1, mixture_width=2, chain_depth=1, alpha=0.7, all_ops=False)
    found = 255 - apply(step, keys_of(0, 4000), white)
    np.testing.assert_array_equal(found, np.broadcast_to(found[:, :1, :1], found.shape))
    rng = np.random.default_rng(0)
    chains = rng.choice([255, 15, *[0] * 7], (400000, 2))
    expected = (chains * rng.dirichlet([0.7, 0.7], 400000)).sum(1) * rng.beta(0.7, 0.7, 400000)
    shares = [0.7, 0.8, 0.9, 0.95]
    np.testing.assert_allclose(np.quantile(found[:, 0, 0, 0], shares), np.quantile(expected, shares), rtol=0.2, atol=1)
    assert found.mean() == pytest.approx(expected.mean(), abs=2.5)


@pytest.mark.parametrize(
    ("step", "channels"),
    [
        (config.AutoAugment(), 3),
        (config.RandAugment(magnitude_std=1.0, fill=(1, 2, 3)), 3),
        (config.TrivialAugmentWide(interpolation="bilinear"), 1),
        (config.AugMix(mixture_width=2), 3),
    ],
)
def test_an_images_fate_does_not_depend_on_its_batch(step, channels):
    images = np.random.default_rng(0).integers(0, 256, (8, 21, 20, channels), np.uint8)
    keys = keys_of(3, 8)
    found = apply(step, keys, images)
    assert found.shape == images.shape
    np.testing.assert_array_equal(apply(step, jnp.roll(keys, 3), np.roll(images, 3, axis=0)), np.roll(found, 3, axis=0))
    assert (found != images).any((1, 2, 3)).sum() >= 4


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda: config.RandAugment(magnitude=31),
            r"^magnitude must be at most 30, one less than num_magnitude_bins, not 31$",
        ),
        (lambda: config.RandAugment(num_magnitude_bins=1), r"^num_magnitude_bins must be greater than or equal to 2"),
        (lambda: config.AutoAugment(policy="cifar"), r"^policy must be 'imagenet', 'cifar10' or 'svhn', not 'cifar'$"),
        (lambda: config.AugMix(severity=11), r"^severity must be less than or equal to 10, not 11$"),
        (lambda: config.AugMix(chain_depth=0), r"^chain_depth must be greater than 0"),
        (lambda: config.TrivialAugmentWide(fill=(256,)), r"^fill\.0 must be less than or equal to 255"),
    ],
)
def test_wrong_options_are_refused_in_a_sentence(make, sentence):
    with pytest.raises(ConfigError, match=sentence):
        make()
