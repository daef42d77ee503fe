"""The loader of a split: reads, decodes and cuts one image at a time."""

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from jaxcnn.config import Crop, DataConfig, Dense, FixedViews
from jaxcnn.data.crop import CropError
from jaxcnn.data.cutter import Cutter, Draw, Uncut
from jaxcnn.data.decode import DecodeError
from jaxcnn.data.processes import CuttingProcesses, cutting_processes
from jaxcnn.data.sources import Source, refuse_bad
from jaxcnn.data.stream import available_cores
from jaxcnn.data.views import cut_views, scaled_images

Finished = TypeVar("Finished")


class Loader:
    """Reads, decodes and cuts a split's images, and keeps a list of those that cannot be read."""

    def __init__(self, source: Source, crop: Crop | FixedViews | Dense, config: DataConfig):
        self.source = source
        self.crop = crop
        self.config = config
        self.cutter = Cutter(config.channels, config.max_pixels)
        self._reasons: dict[int, str] = {}
        self._lock = threading.Lock()

    @property
    def workers(self) -> int:
        """The number of threads; 0 where the caller's thread loads."""
        if self.config.workers is not None:
            return self.config.workers
        return 2 * self.config.processes or available_cores()

    @property
    def processes(self) -> CuttingProcesses | None:
        """The processes that decode and cut; None where the threads do."""
        return cutting_processes(self.config.processes) if self.config.processes else None

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

    def load(self, index: int, draw: Draw | None = None) -> tuple[np.ndarray | list[np.ndarray], int] | None:
        """Returns one image and its label, or None if it cannot be read; raises `UserError` if too many cannot.

        Of `FixedViews` the views, and of `Dense` the list of scaled images, stand for the image. A random crop takes
        its numbers from ``draw``.
        """
        return self._found(index, lambda image: self._cut(image, draw))

    def load_uncut(
        self, index: int, draw: Draw | None = None
    ) -> tuple[np.ndarray | list[np.ndarray] | Uncut, int] | None:
        """Returns what `load` does, but a file of which one square is cut as it is; whether it can be is not known."""

        def uncut(image: bytes | np.ndarray) -> np.ndarray | list[np.ndarray] | Uncut:
            if isinstance(image, bytes) and not isinstance(self.crop, FixedViews | Dense):
                return Uncut(image, self.cutter, self.crop, draw)
            return self._cut(image, draw)

        return self._found(index, uncut)

    def _found(self, index: int, finish: Callable[[bytes | np.ndarray], Finished]) -> tuple[Finished, int] | None:
        """Returns what a function makes of an image, and the label; None if the image cannot be read."""
        if index not in self._reasons:
            try:
                image, label = self.source[index]
                return finish(image), label
            except OSError as error:
                reason = f"cannot be read ({error.strerror or error})"
            except (DecodeError, CropError) as error:
                reason = str(error)
            with self._lock:
                self._reasons[index] = reason
        self.refuse(self.bad)
        return None

    def _cut(self, image: bytes | np.ndarray, draw: Draw | None) -> np.ndarray | list[np.ndarray]:
        match self.crop:
            case FixedViews() as views:
                return cut_views(self.cutter.whole(image), views)
            case Dense() as views:
                return scaled_images(self.cutter.whole(image), views)
            case crop:
                return self.cutter.cut(image, crop, draw)

    def refuse(self, bad: Sequence[tuple[str, str]]) -> None:
        """Raises `UserError` if these images are more than ``max_bad_share`` allows."""
        total = self.source.size + len(self.source.bad)
        refuse_bad(bad, total, self.config.max_bad_share, self.source.title)
