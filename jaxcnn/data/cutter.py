"""From an image as a source has it to the pixels of a batch: decoding and cutting, a pure function of few options."""

import dataclasses
from typing import NamedTuple

import numpy as np

from jaxcnn.config import Crop
from jaxcnn.data.crop import carry_out, plan
from jaxcnn.data.decode import decode, with_channels
from jaxcnn.data.jpeg import JpegHeader, jpeg_header
from jaxcnn.data.order import image_rng


class Draw(NamedTuple):
    """What a random crop draws from: see `image_rng`."""

    seed: int
    epoch: int
    position: int


@dataclasses.dataclass(frozen=True)
class Cutter:
    """Decodes one image, and cuts it."""

    channels: int
    """The number of channels, 1 or 3."""
    max_pixels: int
    """The most pixels that an image's header may claim."""

    def whole(self, image: bytes | np.ndarray, rows: int | None = None, header: JpegHeader | None = None) -> np.ndarray:
        """Returns a whole image; the arguments are those of `decode`.

        Raises:
            DecodeError: it cannot be decoded.
        """
        if isinstance(image, bytes):
            image = decode(image, self.channels, self.max_pixels, rows, header=header)
        return with_channels(image, self.channels)

    def cut(self, image: bytes | np.ndarray, crop: Crop, draw: Draw | None) -> np.ndarray:
        """Returns the square of a crop, for which no more rows of a JPEG file are decoded than it needs.

        Args:
            image: a whole file, or uint8 of shape ``(height, width, 1 or 3)``.
            crop: what to cut.
            draw: what a random crop draws from; the others need none.

        Returns:
            uint8 of shape ``(crop.size, crop.size, channels)``.

        Raises:
            DecodeError: it cannot be decoded.
            CropError: it cannot be cut.
        """
        rng = None if draw is None else image_rng(*draw)
        if not isinstance(image, bytes) or (header := jpeg_header(image)) is None:
            pixels = self.whole(image)
            return carry_out(plan(crop, *pixels.shape[:2], rng), pixels, crop)
        planned = plan(crop, header.height, header.width, rng)
        return carry_out(planned, self.whole(image, planned.box[0] + planned.box[2], header), crop)


class Uncut(NamedTuple):
    """A file of which one square is still to be cut."""

    file: bytes
    cutter: Cutter
    crop: Crop
    draw: Draw | None

    def cut(self) -> np.ndarray:
        """Returns the square: see `Cutter.cut`."""
        return self.cutter.cut(self.file, self.crop, self.draw)
