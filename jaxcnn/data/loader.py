"""The loader of a split: reads, decodes and cuts one image at a time."""

import threading
from collections.abc import Sequence

import numpy as np

from jaxcnn.config import Crop, DataConfig, Dense, FixedViews
from jaxcnn.data.crop import CropError, carry_out, plan
from jaxcnn.data.decode import DecodeError, decode, with_channels
from jaxcnn.data.jpeg import JpegHeader, jpeg_header
from jaxcnn.data.sources import Source, refuse_bad
from jaxcnn.data.stream import available_cores
from jaxcnn.data.views import cut_views, scaled_images


class Loader:
    """Reads, decodes and cuts a split's images, and keeps a list of those that cannot be read."""

    def __init__(self, source: Source, crop: Crop | FixedViews | Dense, config: DataConfig):
        self.source = source
        self.crop = crop
        self.config = config
        self._reasons: dict[int, str] = {}
        self._lock = threading.Lock()

    @property
    def workers(self) -> int:
        """The number of threads; 0 where the caller's thread loads."""
        return available_cores() if self.config.workers is None else self.config.workers

    @property
    def unreadable(self) -> tuple[int, ...]:
        """The indices of the images found to be unreadable so far, ascending."""
        with self._lock:
            return tuple(sorted(self._reasons))

    @property
    def bad(self) -> list[tuple[str, str]]:
        """The images found to be unreadable so far, each as (path or record, reason)."""
        with self._lock:
            reasons = sorted(self._reasons.items())
        return [*self.source.bad, *((self.source.describe(index), reason) for index, reason in reasons)]

    def reason(self, index: int) -> str | None:
        """Returns why an image cannot be read, which is tried unless it is known; None where it can be."""
        self.load(index)
        with self._lock:
            return self._reasons.get(index)

    def load(
        self, index: int, rng: np.random.RandomState | None = None
    ) -> tuple[np.ndarray | list[np.ndarray], int] | None:
        """Returns one image and its label, or None if it cannot be read; raises `UserError` if too many cannot.

        Of `FixedViews` the views, and of `Dense` the list of scaled images, stand for the image.
        """
        if index not in self._reasons:
            try:
                image, label = self.source[index]
                match self.crop:
                    case FixedViews() as views:
                        return cut_views(self._whole(image), views), label
                    case Dense() as views:
                        return scaled_images(self._whole(image), views), label
                    case crop:
                        return self._cut(image, crop, rng), label
            except OSError as error:
                reason = f"cannot be read ({error.strerror or error})"
            except (DecodeError, CropError) as error:
                reason = str(error)
            with self._lock:
                self._reasons[index] = reason
        self.refuse(self.bad)
        return None

    def refuse(self, bad: Sequence[tuple[str, str]]) -> None:
        """Raises `UserError` if these images are more than ``max_bad_share`` allows."""
        total = self.source.size + len(self.source.bad)
        refuse_bad(bad, total, self.config.max_bad_share, self.source.title)

    def _whole(
        self, image: bytes | np.ndarray, rows: int | None = None, header: JpegHeader | None = None
    ) -> np.ndarray:
        channels = self.config.channels
        if isinstance(image, bytes):
            image = decode(image, channels, self.config.max_pixels, rows, header=header)
        return with_channels(image, channels)

    def _cut(self, image: bytes | np.ndarray, crop: Crop, rng: np.random.RandomState | None) -> np.ndarray:
        if not isinstance(image, bytes) or (header := jpeg_header(image)) is None:
            pixels = self._whole(image)
            return carry_out(plan(crop, *pixels.shape[:2], rng), pixels, crop)
        planned = plan(crop, header.height, header.width, rng)
        return carry_out(planned, self._whole(image, planned.box[0] + planned.box[2], header), crop)
