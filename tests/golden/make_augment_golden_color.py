"""Makes augment_color.npz beside it from torchvision: run where it is installed (made with 0.28.0 and torch 2.13).

    python tests/golden/make_augment_golden_color.py

``images``: uint8 (4, 29, 31, 3): a piece of a photograph, noise, a dark image of few levels with an even channel, black
and white. ``OPERATION``: torchvision's results, uint8 (parameters, 4, 29, 31, 3), for ``OPERATION_parameters``;
``grey_OPERATION``: the same of the green channel alone.
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

library = torch.library.Library("torchvision", "DEF")
library.define("nms(Tensor a, Tensor b, float c) -> Tensor")
library.define("qnms(Tensor a, Tensor b, float c) -> Tensor")
from torchvision.transforms.v2 import functional  # noqa: E402

HERE = Path(__file__).parent
FACTORS = [0.0, 0.1, 0.55, 1.0, 1.3, 1.9]
OPERATIONS = {
    "adjust_brightness": (functional.adjust_brightness, FACTORS),
    "adjust_contrast": (functional.adjust_contrast, FACTORS),
    "adjust_saturation": (functional.adjust_saturation, FACTORS),
    "adjust_sharpness": (functional.adjust_sharpness, FACTORS),
    "adjust_hue": (functional.adjust_hue, [-0.5, -0.2, 0.0, 0.05, 0.31, 0.5]),
    "posterize": (functional.posterize, [0, 1, 3, 4, 7, 8]),
    "solarize": (functional.solarize, [0.0, 100.0, 100.5, 128.0, 255.0]),
    "gaussian_blur": (lambda image, sigma: functional.gaussian_blur(image, 7, sigma), [0.1, 0.7, 2.0]),
    "to_grayscale": (lambda image, _: functional.rgb_to_grayscale(image, image.shape[-3]), [0.0]),
    "autocontrast": (lambda image, _: functional.autocontrast(image), [0.0]),
    "equalize": (lambda image, _: functional.equalize(image), [0.0]),
    "invert": (lambda image, _: functional.invert(image), [0.0]),
}


def inputs():
    rng = np.random.default_rng(0)
    photograph = np.asarray(Image.open(HERE.parent / "photos" / "coffee.jpg").convert("RGB").resize((62, 58)))
    noise = rng.integers(0, 256, (29, 31, 3), np.uint8)
    few = rng.integers(90, 97, (29, 31, 3), np.uint8)
    few[..., 1] = 93
    black_and_white = np.repeat(rng.integers(0, 2, (29, 31, 1), np.uint8) * 255, 3, axis=-1)
    return np.stack([photograph[15:44, 16:47], noise, few, black_and_white])


def apply(function, parameter, images):
    found = function(torch.tensor(np.moveaxis(images, -1, -3).copy()), parameter)
    return np.moveaxis(found.numpy(), -3, -1)


if __name__ == "__main__":
    images = inputs()
    saved = {"images": images}
    for name, (function, parameters) in OPERATIONS.items():
        saved[f"{name}_parameters"] = np.array(parameters)
        saved[name] = np.stack([apply(function, parameter, images) for parameter in parameters])
        saved[f"grey_{name}"] = np.stack([apply(function, parameter, images[..., 1:2]) for parameter in parameters])
    np.savez_compressed(HERE / "augment_color.npz", **saved)
