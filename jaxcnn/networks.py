"""A network made from a config, and the images that it can be measured on."""

import dataclasses
import functools
import logging
from collections.abc import Callable
from typing import Literal

import flax.errors
import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcnn.augment.compose import normalize
from jaxcnn.config import ConfigError, DataConfig, Dense, FixedViews, ModelConfig, Normalization, SingleCrop, Views
from jaxcnn.data.pipeline import SINGLE_CROP
from jaxcnn.devices.parallel import DataParallel
from jaxcnn.devices.settings import own_settings
from jaxcnn.errors import UserError, nearest
from jaxcnn.evaluation.evaluator import Evaluator
from jaxcnn.models.folding import fold_batch_norm
from jaxcnn.models.network import Network
from jaxcnn.models.registry import create_model, get_variant, options_of
from jaxcnn.ops.lowering_rules import Lowering, read_tuned
from jaxcnn.ops.lowerings import LOWERINGS, LoweringName
from jaxcnn.paths import expanded
from jaxcnn.types import Option, PyTree, Variables

_LOG = logging.getLogger(__name__)


def make_model(config: ModelConfig, num_classes: int) -> Network:
    """Returns the network that a config names, with ``num_classes`` classes unless the config has its own number.

    Raises:
        ModelError: the name or an option is unknown.
    """
    return create_model(
        config.name,
        num_classes=config.num_classes or num_classes,
        dtype=jnp.dtype(config.dtype),
        lowering=_lowering(config.lowering),
        remat=config.remat,
        **model_options(config),
    )


def model_options(config: ModelConfig) -> dict[str, Option]:
    """Returns a config's options of its family of networks, on which the layout of the variables depends.

    Raises:
        ConfigError: there are no equal blocks in the network that could be scanned.
    """
    if not config.scan:
        return dict(config.options)
    if "scan" not in options_of(get_variant(config.name)):
        raise ConfigError(
            f"model.scan makes a loop of a stage's equal blocks, and {config.name} has no such blocks: leave it out"
        )
    return {**config.options, "scan": True}


def _lowering(name: str) -> Lowering:
    """Returns the name of a lowering, or the table of tuned lowerings that a file holds."""
    names: tuple[Literal["auto"] | LoweringName, ...] = ("auto", *LOWERINGS)
    for known in names:
        if name == known:
            return known
    try:
        return read_tuned(expanded(name))
    except (OSError, ValueError) as error:
        choices = nearest(name, names)
        raise ConfigError(
            f"model.lowering {name!r} is neither a lowering ({choices}) nor a file of tuned ones: {error}"
        ) from None


def make_evaluator(
    model: nn.Module,
    normalization: Normalization,
    parallel: DataParallel,
    views: Views = SINGLE_CROP,
    views_at_once: int | None = None,
) -> Evaluator:
    """Returns the evaluator of a network on images that are normalized but not augmented.

    Args:
        model: the network. For `Dense` views its dense layers see every position, where it has an option for that.
        normalization: the normalization of its images.
        parallel: the devices.
        views: the views of each image.
        views_at_once: the most views that the network takes together; by default there is no limit.
    """
    model = _for_views(model, views)

    def logits(variables: Variables, images: jax.Array) -> jax.Array:
        found = model.apply(variables, normalize(images, normalization), train=False)
        assert isinstance(found, jax.Array)  # auxiliary heads have logits in training alone
        return found

    return Evaluator(
        logits,
        parallel,
        average=views.average if isinstance(views, FixedViews | Dense) else "scores",
        flip=isinstance(views, Dense) and views.flip,
        views_at_once=views_at_once,
    )


def _for_views(model: nn.Module, views: Views) -> nn.Module:
    assert dataclasses.is_dataclass(model)  # Flax makes every module one
    if isinstance(views, Dense) and any(field.name == "fully_convolutional" for field in dataclasses.fields(model)):
        return model.clone(fully_convolutional=True)
    return model


def check_normalization(normalization: Normalization, channels: int) -> None:
    """Refuses means and deviations that do not fit the number of channels.

    Raises:
        ConfigError: some do not fit. The message names the option.
    """
    for option in ("mean", "std"):
        given = len(getattr(normalization, option))
        if given not in (1, channels):
            raise ConfigError(
                f"normalization.{option} has {given} values, and images have {channels} channels: give one value for "
                "each channel, or one for all"
            )


def check_image_shape(
    model: nn.Module,
    variables: Variables,
    shape: tuple[int, ...],
    options: str = "data.evaluation_crop, data.channels",
) -> None:
    """Refuses images that a network's parameters do not fit, without computing anything.

    Args:
        model: the network.
        variables: its variables, or their shapes.
        shape: the images' (height, width, channels).
        options: the options that set the shape, for the message.

    Raises:
        UserError: the images do not fit. Dense layers on feature maps, for example, take only the size that they were
            made for.
    """
    images = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    try:
        jax.eval_shape(lambda variables, images: model.apply(variables, images, train=False), variables, images)
    except (ValueError, flax.errors.FlaxError) as error:
        size = "x".join(map(str, shape))
        reason = str(error).splitlines()[0].split(" (http")[0]
        raise UserError(f"images of {size} ({options}) do not fit this network: {reason}") from None


@own_settings()
def folded_variables(model: nn.Module, variables: Variables, data: DataConfig) -> Variables:
    """Returns variables without the batch normalization that follows convolutions, and says how much of it that was.

    Args:
        model: the network.
        variables: its variables.
        data: the data set whose images the network takes.

    Raises:
        UserError: its images do not fit the network.
    """
    size = data.evaluation_crop.size
    shape = (size, size, data.channels)
    check_image_shape(model, variables, shape)
    folded = fold_batch_norm(model, variables, shape)
    before, after = (len(jax.tree.leaves(each.get("batch_stats", {}))) // 2 for each in (variables, folded))
    _LOG.info("%d of %d batch normalizations are folded into the convolutions before them", before - after, before)
    return folded


def check_batch_statistics(
    apply: Callable[..., PyTree], variables: Variables, shape: tuple[int, ...], batch_size: int, parts: int
) -> None:
    """Refuses a batch in which batch normalization would see one value a channel, without computing anything.

    Args:
        apply: ``model.apply``, as the network is trained.
        variables: its variables, or their shapes.
        shape: the training images' (height, width, channels).
        batch_size: the number of images in a batch.
        parts: the number of parts of a batch that are normalized separately.

    Raises:
        UserError: a part is one image, of which the network makes a map of one pixel. The message names a batch and a
            size that work.
    """
    if batch_size // parts > 1:
        return  # then there are two values at least
    height, width, channels = shape

    def trains(times: int) -> bool:
        images = jax.ShapeDtypeStruct((1, times * height, times * width, channels), jnp.float32)
        rngs = {"dropout": jax.random.key(0)}
        train = functools.partial(apply, train=True, mutable=["batch_stats"], rngs=rngs)
        try:
            jax.eval_shape(train, variables, images)
        except (UserError, ValueError, flax.errors.FlaxError):
            return False
        return True

    if trains(1):
        return
    # A network whose dense layers are made for one size takes none of these.
    times = next(filter(trains, (2, 4, 8)), None)
    larger = f", or train on images of {times * height}x{times * width}" if times else ""
    separately = "" if parts == 1 else f", in {parts} parts that are normalized separately"
    raise UserError(
        f"batch normalization in training takes statistics over several values, and images of {height}x{width} leave "
        f"one a channel at a data.batch_size of {batch_size}{separately}: set data.batch_size to {2 * batch_size}"
        f"{larger}"
    )


@own_settings()
def check_views(
    model: nn.Module, variables: Variables, normalization: Normalization, data: DataConfig, views: Views
) -> None:
    """Refuses views that a network cannot take, before anything is read.

    Raises:
        UserError: some option does not fit. The message names it.
    """
    check_normalization(normalization, data.channels)
    model, channels = _for_views(model, views), data.channels
    match views:
        case SingleCrop():
            size = data.evaluation_crop.size
            check_image_shape(model, variables, (size, size, channels))
        case Dense():
            for short in views.short_sides:
                # Two shapes are tried, because one of them may happen to be the one that dense layers are made for.
                for shape in ((short, short, channels), (short, 2 * short, channels)):
                    check_image_shape(model, variables, shape, "views.short_sides, data.channels")
        case FixedViews():
            check_image_shape(model, variables, (views.size, views.size, channels), "views.size, data.channels")
