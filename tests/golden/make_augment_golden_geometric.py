"""Makes augment_geometric.npz from torchvision's v2 functions: run where torch and torchvision are (made with 0.28.0).

    python tests/golden/make_augment_golden_geometric.py

Images are uint8 (9, 17, 23, 3). ``parameters`` are of `affine`, in the order of its names in NAMES, ``endpoints`` of
`perspective`, ``boxes`` (top, left, height, width) of `resized_crop`. ``affine_nearest``, ``perspective_bilinear`` and
so on are what torchvision makes of the images; those with ``corner`` turn about the top left corner; ``grey`` is the
first channel alone.
"""

from pathlib import Path

import numpy as np
import torch

# Without torchvision's compiled operators, which no transform needs.
library = torch.library.Library("torchvision", "DEF")
for missing in ("nms", "qnms"):
    library.define(f"{missing}(Tensor boxes, Tensor scores, float threshold) -> Tensor")

from torchvision.transforms import InterpolationMode  # noqa: E402
from torchvision.transforms.v2 import functional as F  # noqa: E402

FILL = (9, 100, 200)
NAMES = ("angle", "translate_x", "translate_y", "scale", "shear_x", "shear_y")
SIZE = 14


def over(images, function):
    """What a function of (channels, height, width) and a number makes of each of (batch, height, width, channels)."""
    found = [function(torch.tensor(image).permute(2, 0, 1), index) for index, image in enumerate(images)]
    return torch.stack(found).permute(0, 2, 3, 1).numpy()


def main():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (9, 17, 23, 3), np.uint8)
    low, high = np.array([[-180, 180], [-9, 9], [-9, 9], [0.5, 2], [-40, 40], [-40, 40]]).T
    parameters = rng.uniform(low, high, (9, 6)).astype(np.float32)
    parameters[0] = [0, 3, -2, 1, 0, 0]  # whole pixels
    parameters[1] = [0, 0, 0, 1, 17, 0]
    parameters[2] = [180, 0, 0, 1, 0, 0]
    endpoints = np.array([[0, 0], [22, 0], [22, 16], [0, 16]]) + rng.integers(-6, 7, (9, 4, 2))
    endpoints[0] = [[0, 0], [22, 0], [22, 16], [0, 16]]
    boxes = np.array(
        [
            [0, 0, 17, 23],
            [0, 0, 14, 14],
            [3, 9, 14, 14],
            [2, 1, 5, 9],
            [16, 22, 1, 1],
            [5, 0, 12, 23],
            [0, 4, 17, 3],
            [1, 1, 15, 15],
            [4, 7, 2, 16],
        ]
    )
    saved = {"images": images, "parameters": parameters, "endpoints": endpoints, "boxes": boxes}

    def affine(mode, fill, center=None):
        def one(image, index):
            angle, x, y, scale, *shear = map(float, parameters[index])
            return F.affine(image, angle, [x, y], scale, shear, InterpolationMode(mode), fill, center)

        return one

    def perspective(mode):
        corners = endpoints[0].tolist()
        return lambda image, index: F.perspective(
            image, corners, endpoints[index].tolist(), InterpolationMode(mode), list(map(float, FILL))
        )

    def crop(mode):
        return lambda image, index: F.resized_crop(
            image, *boxes[index].tolist(), [SIZE, SIZE], InterpolationMode(mode), antialias=True
        )

    for mode in ("nearest", "bilinear"):
        saved[f"affine_{mode}"] = over(images, affine(mode, list(map(float, FILL))))
        saved[f"affine_grey_{mode}"] = over(images[..., :1], affine(mode, [0.0]))
        saved[f"affine_corner_{mode}"] = over(images, affine(mode, [0.0], [0.0, 0.0]))
        saved[f"perspective_{mode}"] = over(images, perspective(mode))
    saved["rotate"] = over(images, lambda image, index: F.rotate(image, float(parameters[index, 0]), fill=[0.0]))
    for mode in ("nearest-exact", "bilinear", "bicubic"):
        saved[f"resized_crop_{mode.removesuffix('-exact')}"] = over(images, crop(mode))
    np.savez_compressed(Path(__file__).parent / "augment_geometric.npz", **saved)


if __name__ == "__main__":
    main()
