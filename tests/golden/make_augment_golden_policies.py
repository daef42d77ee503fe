"""Makes augment_policies.npz beside it from torchvision: run where it is installed (made with 0.28.0 and torch 2.13).

    python tests/golden/make_augment_golden_policies.py

``images``: uint8 (2, 29, 34, 3), small photographs. ``fill``: the colour outside. ``OPERATION_amounts`` and, for each
interpolation, ``nearest_OPERATION``, ``bilinear_OPERATION``: the results of torchvision's policies' operation, uint8
(amounts, 2, 29, 34, 3).
``POLICY OPERATION HEIGHTxWIDTH``: the amounts of all bins, twice: without and with a sign drawn.
``DATA SET``: AutoAugment's pairs, text (25, 2, 3): operation, probability, magnitude ("None" if it has none).
"""

import re
from pathlib import Path

import numpy as np
import torch
from PIL import Image

library = torch.library.Library("torchvision", "DEF")
library.define("nms(Tensor a, Tensor b, float c) -> Tensor")
library.define("qnms(Tensor a, Tensor b, float c) -> Tensor")
from torchvision.transforms import v2  # noqa: E402

HERE = Path(__file__).parent
FILL = [10.0, 200.0, 90.0]
ENHANCEMENTS = [-0.9, -0.3, 0.18, 0.9]
AMOUNTS = {
    "Identity": [0.0],
    "ShearX": [-0.3, 0.11, 0.99],
    "ShearY": [-0.3, 0.11, 0.99],
    "TranslateX": [-9.3, 4.0],
    "TranslateY": [-9.3, 4.0],
    "Rotate": [-30.0, 9.0, 117.0],
    "Brightness": ENHANCEMENTS,
    "Color": ENHANCEMENTS,
    "Contrast": ENHANCEMENTS,
    "Sharpness": ENHANCEMENTS,
    "Posterize": [8.0, 5.0, 2.0, 0.0],
    "Solarize": [1.0, 0.7, 0.3],
    "AutoContrast": [0.0],
    "Equalize": [0.0],
    "Invert": [0.0],
}
SPACES = {
    "auto_augment": (v2.AutoAugment._AUGMENTATION_SPACE, 10),
    "rand_augment": (v2.RandAugment._AUGMENTATION_SPACE, 31),
    "trivial_augment_wide": (v2.TrivialAugmentWide._AUGMENTATION_SPACE, 31),
    "aug_mix": (v2.AugMix._AUGMENTATION_SPACE, 10),
    "aug_mix_paper": (v2.AugMix._PARTIAL_AUGMENTATION_SPACE, 10),
}
SIZES = [(29, 34), (224, 224), (331, 662)]


def ours(name):
    return "autocontrast" if name == "AutoContrast" else re.sub("(?<!^)(?=[A-Z])", "_", name).lower()


if __name__ == "__main__":
    photographs = [Image.open(HERE.parent / "photos" / f"{name}.jpg").convert("RGB") for name in ("coffee", "cat")]
    images = np.stack([np.asarray(each.resize((34, 29), Image.Resampling.BOX)) for each in photographs])
    tensor = torch.tensor(np.moveaxis(images, -1, -3).copy())
    saved = {"images": images, "fill": np.array(FILL)}
    for interpolation in (v2.InterpolationMode.NEAREST, v2.InterpolationMode.BILINEAR):
        policy = v2.RandAugment(interpolation=interpolation)
        for name, amounts in AMOUNTS.items():
            results = [
                policy._apply_image_or_video_transform(tensor, name, amount, interpolation, {torch.Tensor: FILL})
                for amount in amounts
            ]
            scale = 255 if name == "Solarize" else 1
            saved[f"{ours(name)}_amounts"] = scale * np.array(amounts)
            geometric = name in ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate")
            if geometric or interpolation == v2.InterpolationMode.NEAREST:
                saved[f"{interpolation.value}_{ours(name)}"] = np.stack(
                    [np.moveaxis(each.numpy(), -3, -1) for each in results]
                )
    for space, (operations, bins) in SPACES.items():
        for name, (function, signed) in operations.items():
            for height, width in SIZES:
                magnitudes = function(bins, height, width)
                magnitudes = np.zeros(bins) if magnitudes is None else magnitudes.numpy().astype(np.float64)
                if name.startswith("Translate"):
                    magnitudes = np.trunc(magnitudes)
                scale = 255 if name == "Solarize" else 1
                amounts = scale * magnitudes
                saved[f"{space} {ours(name)} {height}x{width}"] = np.stack([amounts, -amounts if signed else amounts])
    for policy in v2.AutoAugmentPolicy:
        pairs = v2.AutoAugment(policy)._policies
        saved[policy.value] = np.array([[[ours(name), str(p), str(m)] for name, p, m in pair] for pair in pairs])
    np.savez_compressed(HERE / "augment_policies.npz", **saved)
