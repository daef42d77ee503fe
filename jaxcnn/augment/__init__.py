"""Augmentations: jitted functions from keys, images and labels to images and targets, inside the training step.

Each stands beside its options: `geometric` moves pixels, `random_color` changes colour and sharpness, `policies` draws
operations (which `operations` applies), `resized_crop` scales a box, `erase` hides a part, and `mix` blends images.
`registry` holds them and takes others; `compose` makes one function of a recipe's list.
"""

from jaxcnn.augment.registry import AUGMENTATIONS, register_augmentation

__all__ = ["AUGMENTATIONS", "register_augmentation"]
