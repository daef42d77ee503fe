"""Makes crops.npz from torchvision: run in an environment that has it (made with 0.28.0 and Pillow 13.0.0).

    python tests/golden/make_crops.py

Of each preprocessing of published weights and each image of crop_cases.py, cut by the transform that torchvision's own
weights bring: some pixels and the means of fields. And torchvision's ten crops.
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from tests.golden import crop_cases

LIBRARY = torch.library.Library("torchvision", "DEF")
LIBRARY.define("nms(Tensor a, Tensor b, float c) -> Tensor")
LIBRARY.define("qnms(Tensor a, Tensor b, float c) -> Tensor")

from torchvision.models import get_model_weights, list_models  # noqa: E402
from torchvision.transforms import InterpolationMode, functional  # noqa: E402
from torchvision.transforms._presets import ImageClassification  # noqa: E402

FAMILIES = ("alexnet", "convnext", "densenet", "efficientnet", "googlenet", "inception", "regnet", "res", "vgg", "wide")


def cropped(image: np.ndarray, resize: int | None, crop: int, interpolation: str) -> np.ndarray:
    """By the preset, whose normalization is the identity here; without a size before the crop, by a resizing alone."""
    grey = image.shape[-1] == 1
    channels = {"mean": (0.0,), "std": (1.0,)} if grey else {"mean": (0.0,) * 3, "std": (1.0,) * 3}
    mode = InterpolationMode(interpolation)
    if resize is None:
        whole = Image.fromarray(image[..., 0] if grey else image)
        return np.asarray(functional.resize(whole, [crop, crop], mode)).reshape(crop, crop, -1)
    preset = ImageClassification(crop_size=crop, resize_size=resize, interpolation=mode, **channels)
    answer = preset(Image.fromarray(image[..., 0] if grey else image))
    return (answer * 255).round().to(torch.uint8).numpy().transpose(1, 2, 0)


def main():
    presets = set()
    for name in list_models(module=None):
        if name.startswith(FAMILIES):
            for weights in get_model_weights(name):
                keywords = weights.transforms.keywords
                mode = keywords.get("interpolation", InterpolationMode.BILINEAR).value
                presets.add((keywords.get("resize_size", 256), keywords["crop_size"], mode))
    assert presets == set(crop_cases.TORCHVISION), presets ^ set(crop_cases.TORCHVISION)

    saved = {}
    for shape in crop_cases.SHAPES:
        image = crop_cases.image(*shape)
        for resize, crop, interpolation in crop_cases.PREPROCESSINGS:
            name = "_".join(map(str, (*shape, resize, crop, interpolation)))
            answer = cropped(image, resize, crop, interpolation)
            saved[f"{name}_pixels"], saved[f"{name}_means"] = crop_cases.pixels(answer), crop_cases.means(answer)
    for height, width, size in crop_cases.TEN_CROPS:
        ten = functional.ten_crop(Image.fromarray(crop_cases.places(height, width)), size)
        saved[f"ten_{height}_{width}_{size}"] = np.stack([np.asarray(each) for each in ten])
    np.savez_compressed(Path(__file__).with_name("crops.npz"), **saved)


if __name__ == "__main__":
    main()
