"""Augmentations: from keys, images and labels to images and targets, jitted, inside the training step.

Each stands beside its config: `geometric` moves pixels, `random_color` changes colour and sharpness, `policies` draws
operations (which `operations` does), `resized_crop` scales a box, `erase` hides a part, `mix` blends images. `registry`
lists them and takes others; `compose` makes one function of a recipe's list.
"""

from jaxcnn.augment.registry import AUGMENTATIONS, register_augmentation

__all__ = ["AUGMENTATIONS", "register_augmentation"]
