"""The images of an annotated split, on their way to where regions are cut from them."""

import dataclasses
import functools
from collections.abc import Iterable

import numpy as np

from jaxcnn.data.decode import with_channels
from jaxcnn.data.stream import available_cores
from jaxcnn.data.threads import map_ahead
from jaxcnn.detection.annotations import AnnotatedSplit
from jaxcnn.detection.warp import Canvases, canvases
from jaxcnn.devices.parallel import DataParallel


@dataclasses.dataclass(frozen=True, eq=False)
class Pictures:
    """The images of a split, with the channels that a network takes."""

    split: AnnotatedSplit
    channels: int
    """The number of channels, 1 for grey or 3 for RGB."""
    resident_bytes: int = 1 << 30
    """The most bytes that all of them together may take on a device."""

    @functools.cached_property
    def shape(self) -> tuple[int, int]:
        """The greatest height and the greatest width."""
        return (
            max((image.height for image in self.split.images), default=1),
            max((image.width for image in self.split.images), default=1),
        )

    def read(self, indices: Iterable[int]) -> Canvases:
        """Returns some images as arrays of the one `shape`, read by threads.

        Raises:
            UserError: an image cannot be read.
        """
        indices = list(map(int, indices))
        distinct = list(dict.fromkeys(indices))
        workers = available_cores()
        found = dict(zip(distinct, map_ahead(self.pixels, distinct, workers=workers, depth=2 * workers), strict=True))
        return canvases([found[index] for index in indices], self.shape)

    def pixels(self, index: int) -> np.ndarray:
        """Returns an image, uint8 (height, width, channels).

        Raises:
            UserError: it cannot be read.
        """
        return with_channels(self.split.images[index].read(), self.channels)

    def resident(self, parallel: DataParallel) -> Canvases | None:
        """Returns all images, a copy of which is on every device; None where they take too much memory."""
        height, width = self.shape
        if 4 * height * width * len(self.split) > self.resident_bytes:
            return None
        return self._resident(parallel)

    @functools.lru_cache(maxsize=1)  # noqa: B019 - an object lives as long as the work on its split
    def _resident(self, parallel: DataParallel) -> Canvases:
        return Canvases(*parallel.put_everywhere(tuple(self.read(range(len(self.split))))))
