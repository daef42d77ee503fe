"""The base class of augmentations, whose kinds stand beside their functions in `jaxcnn.augment`; and normalization."""

from jaxcnn.config.options import FiniteFloat, PositiveFloat, option_group
from jaxcnn.config.registry import Role


class Augmentation(Role):
    """A change of training images on the accelerator, drawn anew for each image or batch.

    Its kinds are registered by `jaxcnn.augment.register_augmentation`.
    """

    registry = "jaxcnn.augment.registry:AUGMENTATIONS"


@option_group
class Normalization:
    """``(pixel / 255 - mean) / std``, with one value for each channel, or one for all. The defaults are ILSVRC's."""

    mean: tuple[FiniteFloat, ...] = (0.485, 0.456, 0.406)
    std: tuple[PositiveFloat, ...] = (0.229, 0.224, 0.225)
