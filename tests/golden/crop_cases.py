"""What make_crops.py asks torchvision and tests/data asks us: preprocessings, images, and what is kept of an answer."""

import numpy as np

# (resize, crop, interpolation). All of torchvision 0.28's classification weights of convolutional families, from their
# weight entries, those of EfficientNetV2 included.
TORCHVISION = (
    (224, 224, "bicubic"),
    (230, 224, "bilinear"),
    (232, 224, "bilinear"),
    (236, 224, "bilinear"),
    (255, 240, "bilinear"),
    (256, 224, "bicubic"),
    (256, 224, "bilinear"),
    (256, 240, "bicubic"),
    (288, 288, "bicubic"),
    (320, 300, "bicubic"),
    (342, 299, "bilinear"),
    (384, 380, "bicubic"),
    (384, 384, "bicubic"),
    (384, 384, "bilinear"),
    (456, 456, "bicubic"),
    (480, 480, "bicubic"),
    (480, 480, "bilinear"),
    (528, 528, "bicubic"),
    (600, 600, "bicubic"),
)
# The other publishers' in jaxcnn/weights/published.json.
OTHERS = (
    (232, 224, "bicubic"),
    (235, 224, "bicubic"),
    (256, 256, "bicubic"),
    (272, 240, "bicubic"),
    (292, 260, "bicubic"),
    (303, 288, "bicubic"),
    (320, 320, "bicubic"),
    (331, 300, "bicubic"),
    (331, 300, "bilinear"),
    (341, 299, "bicubic"),
    (363, 331, "bicubic"),
    (412, 380, "bicubic"),
    (413, 380, "bilinear"),
    (488, 456, "bicubic"),
    (560, 528, "bicubic"),
    (632, 600, "bicubic"),
    # The whole image, scaled to the crop: timm's "squash".
    (None, 384, "bicubic"),
    (None, 448, "bicubic"),
)
PREPROCESSINGS = TORCHVISION + OTHERS

# A landscape shrunk to a third, a portrait, smaller than any crop, a strip that is scaled up, and grey.
SHAPES = ((777, 1001, 3), (499, 331, 3), (113, 90, 3), (31, 203, 3), (253, 255, 1))

TEN_CROPS = ((13, 18, 8), (14, 11, 11), (17, 17, 4))
"""The height, width and size of ten crops, with odd and even margins, and with none."""


def image(height: int, width: int, channels: int) -> np.ndarray:
    """Tiles of random grey levels under noise, so that edges overshoot and noise tells an antialiased shrinking."""
    rng = np.random.RandomState(height)
    tiles = rng.randint(256, size=(height // 7 + 1, width // 7 + 1, channels)).repeat(7, 0).repeat(7, 1)
    noise = rng.randint(-30, 30, size=(height, width, channels))
    return np.clip(tiles[:height, :width] + noise, 0, 255).astype(np.uint8)


def places(height: int, width: int) -> np.ndarray:
    """An image whose every pixel says where it is."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, rows + columns], -1).astype(np.uint8)


def pixels(cropped: np.ndarray) -> np.ndarray:
    """Twelve by twelve pixels of a square, its borders among them."""
    index = np.linspace(0, len(cropped) - 1, 12).round().astype(int)
    return cropped[np.ix_(index, index)]


def means(cropped: np.ndarray) -> np.ndarray:
    """The means of eight by eight fields of a square, in 1/256 of a grey level."""
    edges = np.arange(8) * len(cropped) // 8
    sizes = np.diff([*edges, len(cropped)])
    sums = np.add.reduceat(np.add.reduceat(cropped.astype(np.int64), edges, 0), edges, 1)
    return np.round(256 * sums / (sizes[:, None, None] * sizes[None, :, None])).astype(np.uint16)
