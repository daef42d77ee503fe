"""Fine-tuning's options carried out on a network: what of it is trained, what stays as it is, and at which rates."""

from typing import NamedTuple

from jaxcnn.config import ConfigError, FinetuneConfig
from jaxcnn.errors import UserError
from jaxcnn.models.network import Network
from jaxcnn.models.parts import ImageShape, Parts, parts_of
from jaxcnn.models.still import Still, still_where_frozen
from jaxcnn.training.partition import Partition


class Adaptation(NamedTuple):
    """How a network is adapted by training."""

    partition: Partition
    still: Still


def adaptation(config: FinetuneConfig, model: Network, image_shape: ImageShape) -> Adaptation | None:
    """Returns what a network's training leaves out, or None where all of the network is trained at one rate.

    Args:
        config: the options of fine-tuning.
        model: the network.
        image_shape: (height, width, channels) of the images that it is trained on.

    Raises:
        UserError: an option names what the network does not have, or leaves nothing to train.
    """
    if not (config.frozen or config.freeze_statistics or config.rates or config.rate_decay != 1):
        return None
    try:
        parts = parts_of(model, image_shape)
    except ValueError as error:
        size = "x".join(map(str, image_shape))
        raise UserError(f"{type(model).__name__} cannot take images of {size}: {error}") from error
    frozen = frozenset[str]().union(*(parts.named(name, "finetune.frozen") for name in config.frozen))
    if not parts.of.keys() - frozen:
        raise ConfigError(
            f"finetune.frozen {', '.join(config.frozen)} is all of {parts.network}: leave something to train"
        )
    still = still_where_frozen(model, image_shape, frozen, all_statistics=config.freeze_statistics)
    partition = Partition(
        params=parts.params,
        frozen=frozen,
        frozen_statistics=frozenset(
            path for path in parts.statistics if path.rpartition("/")[0] in still.normalizations
        ),
        rates=_rates(config, parts, frozen),
    )
    return Adaptation(partition, still)


def _rates(config: FinetuneConfig, parts: Parts, frozen: frozenset[str]) -> dict[str, float]:
    """Returns the factors of the rates of the trained parameters, by path, without those that are 1."""
    factors = {path: config.rate_decay ** parts.distance_from_head(path) for path in parts.of.keys() - frozen}
    for name, factor in config.rates.items():
        trained = parts.named(name, "finetune.rates") - frozen
        if not trained:
            raise ConfigError(f"finetune.rates {name!r} names only what finetune.frozen names too: leave it out of one")
        for path in trained:
            factors[path] *= factor
    return {path: factor for path, factor in sorted(factors.items()) if factor != 1}
