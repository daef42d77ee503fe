"""Augmentations that are not ours: registered by one call, checked and read like ours."""

import inspect
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tyro

from jaxcnn.augment import AUGMENTATIONS, register_augmentation
from jaxcnn.augment.compose import augment, augmented_shape, check_order, mixes
from jaxcnn.config import (
    Augmentation,
    ConfigError,
    CutMix,
    HorizontalFlip,
    Normalization,
    RandomCrop,
    RandomErasing,
    TrainConfig,
    flatten,
    from_json,
    option_group,
    to_json,
)
from jaxcnn.config.command_line import ROLES
from jaxcnn.config.options import GreyLevel, PositiveFloat, PositiveInt
from jaxcnn.errors import UserError

untyped = inspect.unwrap(register_augmentation)
"""`register_augmentation` without the types that the tests check: its own refusals are for those who check none."""


@option_group
class Stamp(Augmentation):
    """A grey square stamped into a corner drawn at random."""

    side: PositiveInt = 2
    """The length of the square's sides, in pixels."""
    levels: tuple[GreyLevel, ...] = (255,)
    kind: Literal["stamp"] = "stamp"


def stamp(keys, images, *, side, levels):
    corner = jax.vmap(lambda key: jax.random.bernoulli(key, shape=(2,)))(keys)[:, :, None, None, None]
    turned = jnp.where(corner[:, 0], images[:, ::-1], images)
    turned = jnp.where(corner[:, 1], turned[:, :, ::-1], turned)
    return turned.at[:, :side, :side].set(jnp.array(levels, images.dtype))


@option_group
class Amplified(Augmentation):
    factor: PositiveFloat = 2.0
    kind: Literal["amplified"] = "amplified"


@option_group
class Swapped(Augmentation):
    kind: Literal["swapped"] = "swapped"


@pytest.fixture
def registered():
    with AUGMENTATIONS.temporarily():
        register_augmentation(Stamp, stamp, on="pixels")
        register_augmentation(Amplified, lambda keys, images, factor: factor * images, on="normalized")
        register_augmentation(Swapped, lambda keys, images, targets: (images[::-1], targets[::-1]), on="batch")
        yield
    assert not {"stamp", "amplified", "swapped"} & AUGMENTATIONS.groups.keys()


PLAIN = Normalization(mean=(0.0,), std=(1 / 255,))


@pytest.mark.usefixtures("registered")
def test_each_sort_is_applied_where_it_belongs():
    steps = (Stamp(side=3, levels=(7, 8, 9)), Amplified(factor=10.0), Swapped())
    check_order(steps)
    assert mixes(steps)
    assert not mixes(steps[:2])
    assert augmented_shape((6, 5, 3), steps) == (6, 5, 3)
    images = np.full((40, 6, 5, 3), 100, np.uint8)
    images[0] = 50
    keys = jax.random.split(jax.random.key(0), 40)
    run = jax.jit(augment, static_argnums=(3, 4, 5))
    found, targets = run(keys, images, jnp.arange(40) % 2, steps, PLAIN, 2)
    np.testing.assert_array_equal(targets, np.eye(2)[np.arange(40)[::-1] % 2])
    expected = np.full((40, 6, 5, 3), 1000.0)
    expected[-1] = 500
    expected[:, :3, :3] = (70, 80, 90)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    with pytest.raises(ConfigError, match=r"augmentations\.1, stamp, cannot come after amplified: move it before"):
        check_order((Amplified(), Stamp()))
    with pytest.raises(ConfigError, match=r"augmentations\.1, amplified, cannot come after cutmix: move it before"):
        check_order((CutMix(), Amplified()))


@pytest.mark.parametrize("returned", [lambda images: images / 2, lambda images: images[:1], lambda images: images[0]])
def test_what_is_no_such_batch_is_refused(returned):
    with AUGMENTATIONS.temporarily():
        register_augmentation(Stamp, lambda keys, images, side, levels: returned(images), on="pixels")
        with pytest.raises(
            UserError, match=r"^augmentation stamp made \w+ \([\d, ]+\) of uint8 \(2, 6, 5, 3\): have the"
        ):
            augment(
                jax.random.split(jax.random.key(0), 2),
                jnp.zeros((2, 6, 5, 3), jnp.uint8),
                jnp.zeros(2, jnp.int32),
                (Stamp(),),
                PLAIN,
                2,
            )


@pytest.mark.usefixtures("registered")
def test_a_recipe_with_one_is_json():
    config = TrainConfig(augmentations=(HorizontalFlip(), Stamp(levels=(1, 2, 3)), Swapped()))
    assert '"kind": "stamp"' in to_json(config)
    assert from_json(to_json(config)) == config
    assert flatten(config)["augmentations.1.levels"] == (1, 2, 3)
    with pytest.raises(ConfigError, match=r"^augmentations\.0\.stamp\.sides is not an option: did you mean 'side'\?$"):
        from_json('{"augmentations": [{"kind": "stamp", "sides": 3}]}')
    with pytest.raises(ConfigError, match=r"^augmentations\.0\.stamp\.levels\.1 must be less than or equal to 255"):
        from_json('{"augmentations": [{"kind": "stamp", "levels": [3, 256]}]}')
    with pytest.raises(ConfigError, match=r"^augmentations\.0 has the kind 'stamps', .*: did you mean 'stamp'\?$"):
        from_json('{"augmentations": [{"kind": "stamps"}]}')
    with pytest.raises(ConfigError, match=r"^side must be greater than 0, not 0$"):
        Stamp(side=0)


@pytest.mark.usefixtures("registered")
def test_the_command_line_sets_its_options(capsys):
    default = TrainConfig(augmentations=(RandomCrop(), Stamp()))

    def parse(*arguments):
        return tyro.cli(
            TrainConfig, default=default, args=arguments, config=(tyro.conf.AvoidSubcommands,), registry=ROLES
        )

    assert parse() == default
    changed = parse(
        "--augmentations.1.side", "5", "--augmentations.1.levels", "3", "4", "--augmentations.0.padding", "3"
    )
    assert changed.augmentations == (RandomCrop(padding=3), Stamp(side=5, levels=(3, 4)))
    with pytest.raises(SystemExit):
        parse("--help")
    said = " ".join(capsys.readouterr().out.replace("│", "").split())
    for sentence in (
        "A grey square stamped into a corner drawn at random.",
        "--augmentations.1.side INT The length of the square's sides, in pixels. (default: 2)",
        "Cuts a window of the image's own size out of the i",
        "--optimizer.schedule.kind {constant,step,exponential,cosine}",
        "--optimizer.decayed {all,not_norms,kernels} The parameters that weight decay is for: ``not_norms`` leaves",
    ):
        assert sentence in said


def test_without_registration_it_is_refused():
    with pytest.raises(ConfigError, match=r"^augmentations\.0 has the kind 'stamp', which neither jaxcnn nor a recipe"):
        from_json('{"augmentations": [{"kind": "stamp"}]}')
    way_out = r"Stamp, which is not registered: call register_augmentation\(Stamp, \.\.\.\) first$"
    with pytest.raises(ConfigError, match=rf"^augmentations\.0 is of the class {way_out}"):
        TrainConfig(augmentations=(Stamp(),))
    with pytest.raises(UserError, match=rf"^augmentation class {way_out}"):
        check_order((Stamp(),))


class NoGroup(Augmentation):
    kind: Literal["no_group"] = "no_group"


class OfAGroup(Stamp):
    kind: Literal["of_a_group"] = "of_a_group"


@option_group
class NoRole:
    kind: Literal["no_role"] = "no_role"


@option_group
class NoKind(Augmentation):
    side: int = 3


@option_group
class FreeKind(Augmentation):
    kind: str = "free_kind"


@option_group
class OtherFlip(Augmentation):
    kind: Literal["horizontal_flip"] = "horizontal_flip"


@pytest.mark.parametrize(
    ("group", "sentence"),
    [
        (
            NoGroup,
            r"^NoGroup cannot be registered as an augmentation: derive it from Augmentation and decorate it with",
        ),
        (OfAGroup, r"^OfAGroup cannot be registered as an augmentation: derive it from Augmentation and decorate it"),
        (
            Stamp(),
            r"^Stamp\(side=2, .*\) cannot be registered as an augmentation: derive it from Augmentation and decor",
        ),
        (NoRole, r"^NoRole cannot be registered as an augmentation: derive it from Augmentation and decorate it with"),
        (NoKind, r'^NoKind cannot .*: give it a field kind: Literal\["no_kind"\] = "no_kind"$'),
        (FreeKind, r'^FreeKind cannot .*: give it a field kind: Literal\["free_kind"\] = "free_kind"$'),
        (
            OtherFlip,
            r"^augmentation kind 'horizontal_flip' of \S+\.OtherFlip is taken by "
            r"jaxcnn\.augment\.geometric\.HorizontalFlip: give it another$",
        ),
        (
            RandomErasing,
            r"is taken by \S+\.RandomErasing: register a class once, and run a recipe's file once in a pro",
        ),
    ],
)
def test_classes_that_cannot_be_registered(group, sentence):
    before = dict(AUGMENTATIONS.groups)
    with pytest.raises(UserError, match=sentence):
        untyped(group, lambda keys, images, **options: images, on="pixels")
    assert AUGMENTATIONS.groups == before


@pytest.mark.parametrize(
    ("function", "on", "sentence"),
    [
        (
            stamp,
            "batch",
            r"its function must take \(keys, images, targets, \*, side, levels\), and this one does not: ",
        ),
        (
            lambda keys, images, *, side: images,
            "pixels",
            r"this one does not: got an unexpected keyword argument 'levels'",
        ),
        (
            lambda keys, images, *, side, levels, fill: images,
            "normalized",
            r"^Stamp cannot be registered .*: its function must take \(keys, images, \*, side, levels\), "
            r"and this one does not: missing a required .*'fill'",
        ),
        (stamp, "pixel", r"^Stamp cannot be registered as an augmentation: on='pixel' is not one of 'pixels', 'normal"),
    ],
)
def test_functions_that_cannot_be_registered(function, on, sentence):
    with pytest.raises(UserError, match=sentence):
        untyped(Stamp, function, on=on)
    assert "stamp" not in AUGMENTATIONS.groups
