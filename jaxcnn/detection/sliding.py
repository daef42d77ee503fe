"""The sliding window: a network's scores for every window of an image at several scales, in one pass for each scale.

A network reduces a window to a small map, its last, and makes scores of that. The maps of neighbouring windows are
pieces of one map, that of the whole image, as long as windows lie apart by a multiple of the network's total stride. So
the layers up to the last map see the whole image once, and those behind it see each window's piece (Sermanet et al.,
"OverFeat", arXiv:1312.6229, section 3.5). Dense layers that see all pieces are convolutions over the last map: for
these, cutting out the pieces is how a convolution is lowered to a matrix product.

A network without padding, such as LeNet, gives a window exactly the scores of its crop. Where a network pads its maps,
there cannot be one pass that does: a crop has zeros at its border in every layer, and in the deep layers of AlexNet,
VGG and the ResNets hardly a position is left that is not near enough to see them. Here, as in OverFeat and in VGG's
dense evaluation, a window sees beyond its border what is there, which is more of the picture, and beyond the picture
the network's own padding. So the scores of a window are those of its *surroundings*: the network's map of the crop that
reaches `Sliding.context` pixels further on each side, or to the picture's border where that is nearer, read at the
window's own positions. Two things follow. A picture of one window gets exactly what the network answers for it; and at
the border of a picture a window sees the zeros that the network was trained with.

The more of a window's score comes from beyond its border, the more it differs from that of the bare crop: little where
a window is large beside what a position of the last map sees, and beyond recognition where it is small. So
``shared=False`` computes each window by itself, as a crop, with any network and at any distance, for many times the
work. A way between the two would share those parts of the first layers' maps that no border reaches, and would spare
little: in the layers that do most of the work nearly all positions see a border.
"""

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from jaxcnn.augment.compose import normalize
from jaxcnn.data.crop import MAX_RESIZED_PIXELS
from jaxcnn.data.decode import with_channels
from jaxcnn.data.images import given
from jaxcnn.data.resize import resize
from jaxcnn.detection.detections import Detections, probabilities
from jaxcnn.detection.last_map import Grid, changed_last_map, context_of, grid_of, name_of, windows_of
from jaxcnn.devices.settings import own_settings
from jaxcnn.errors import UserError
from jaxcnn.networks import check_image_shape, check_normalization
from jaxcnn.trained import Trained
from jaxcnn.types import Variables

SCALES = (2.0, 2.0**0.5, 1.0, 0.5**0.5, 0.5)
"""The usual scales of a pyramid, two an octave."""
_CROPS_AT_ONCE = 32
"""The number of windows that the network takes together where each is computed by itself."""


class Scored(NamedTuple):
    """The windows of an image and their scores."""

    boxes: np.ndarray
    """The windows in the image's own pixels, float32 (windows, 4): left, top, right, bottom. Scale by scale, and of
    each scale row by row."""
    scores: np.ndarray
    """The scores of the classes, which a softmax makes probabilities of, float32 (windows, classes)."""


class Level(NamedTuple):
    """A scale of the pyramid of one image: the size to which the image is scaled, and how many windows fit into it."""

    height: int
    width: int
    rows: int
    columns: int


class Sliding:
    """A network that is slid over images: scores of all windows, or detections."""

    trained: Trained
    """The network."""
    window: int
    """The height and width of a window in the scaled image, in pixels."""
    stride: int
    """The distance of neighbouring windows in the scaled image, in pixels."""
    scales: tuple[float, ...]
    """The factors by which an image is scaled; an object fills a window at one of them."""
    grid: Grid | None
    """What the last map is to a window, where windows share a pass."""

    @own_settings()
    def __init__(
        self,
        trained: Trained,
        window: int | None = None,
        stride: int | None = None,
        scales: Sequence[float] = SCALES,
        *,
        shared: bool = True,
    ) -> None:
        """Checks that the network can be slid so; computes nothing.

        Args:
            trained: the network.
            window: the height and width of a window, in pixels; by default of the images that the network takes.
            stride: the distance of neighbouring windows, in pixels; by default the network's total stride, or an eighth
                of the window where windows share nothing.
            scales: the factors by which an image is scaled.
            shared: whether all windows of a scale share one pass, or each is computed by itself.

        Raises:
            UserError: the network does not take such windows, or a scale is not a positive number. If windows share a
                pass: the network does not say which map is its last, or sees the whole image before it; or the stride
                is not a multiple of the network's.
        """
        self.trained, self.scales = trained, tuple(scales)
        self.window = trained.data.evaluation_crop.size if window is None else window
        if not self.scales or not all(0 < scale < math.inf for scale in self.scales):
            raise UserError(
                f"the scales {self.scales} of the sliding window are not positive numbers: give one or more"
            )
        channels = trained.data.channels
        check_normalization(trained.normalization, channels)
        check_image_shape(trained.model, trained.variables, (self.window, self.window, channels), "the window")
        self.grid = grid_of(trained.model, trained.variables, self.window, channels) if shared else None
        step = self.grid.stride if self.grid else 1
        self.stride = (step if self.grid else max(1, self.window // 8)) if stride is None else stride
        if self.stride < 1 or self.stride % step:
            nearest = max(1, round(self.stride / step)) * step
            why = f", the distance of the positions of the last map of {name_of(trained.model)}" if shared else ""
            other = ", or compute each window by itself with shared=False" if shared else ""
            raise UserError(
                f"a stride of {self.stride} pixels is not a positive multiple of {step}{why}: take {nearest}{other}"
            )
        self._one_pass, self._crops = jax.jit(self.window_logits), jax.jit(self._answer)

    @functools.cached_property
    @own_settings()
    def context(self) -> int:
        """How many pixels beyond a window its scores see at most, on each side: a multiple of the total stride.

        See `context_of`. It is 0 where each window is computed by itself.

        Raises:
            UserError: some layer sees the whole image.
        """
        if self.grid is None:
            return 0
        trained = self.trained
        return context_of(trained.model, trained.variables, self.grid, self.window, trained.data.channels)

    def levels(self, height: int, width: int) -> list[Level]:
        """Returns the scales at which at least one window fits into an image, in the order of ``scales``.

        A scaled image is a whole number of windows' steps long, so that windows reach its borders and none reaches
        beyond. To that end its sides are rounded, by half a stride at most; where more than 16 windows fit, to one of
        eight lengths an octave. So images of any sizes have few sizes when they are scaled, and little is compiled.

        Args:
            height: the image's height, in pixels.
            width: the image's width, in pixels.

        Raises:
            UserError: the image is smaller than the window at all scales, or too large when it is scaled.
        """
        levels = []
        for scale in self.scales:
            lengths = [scale * length for length in (height, width)]
            if math.prod(lengths) > MAX_RESIZED_PIXELS:
                raise UserError(
                    f"an image of {height}x{width} pixels is too large at the scale {scale:g}: leave out this scale"
                )
            if min(map(round, lengths)) >= self.window:
                rows, columns = (_count((length - self.window) / self.stride) for length in lengths)
                sides = (self.window + (count - 1) * self.stride for count in (rows, columns))
                levels.append(Level(*sides, rows, columns))
        if not levels:
            largest = max(self.scales)
            raise UserError(
                f"an image of {height}x{width} pixels is smaller than the window of {self.window}x{self.window} at "
                f"all scales, of which the largest is {largest:g}: add a scale of {_enough(self.window, height, width)}"
            )
        return levels

    @own_settings()
    def scores(self, image: np.ndarray) -> Scored:
        """Returns the scores of all windows of an image.

        Args:
            image: uint8 (height, width, 1 or 3).

        Raises:
            UserError: the image is something else, or `levels` refuses its size.
        """
        (checked,) = given([image])
        assert isinstance(checked.content, np.ndarray)
        pixels = with_channels(checked.content, self.trained.data.channels)
        height, width = pixels.shape[:2]
        levels = self.levels(height, width)
        # All scales are on their way to the device before the first result is waited for.
        logits = [self._level_logits(resize(pixels, level.height, level.width, "bilinear")) for level in levels]
        boxes = np.concatenate([self._boxes(level, height, width) for level in levels])
        return Scored(boxes, np.concatenate([np.asarray(rows) for each in logits for rows in each]))

    def _level_logits(self, picture: np.ndarray) -> list[jax.Array]:
        """Returns the logits of the windows of a scaled image, as one array or several."""
        if self.grid is not None:
            return [self._one_pass(self._variables, picture[None])]
        windows = np.lib.stride_tricks.sliding_window_view(picture, (self.window, self.window), axis=(0, 1))
        windows = windows[:: self.stride, :: self.stride].transpose(0, 1, 3, 4, 2)
        rows, columns = np.divmod(np.arange(windows.shape[0] * windows.shape[1]), windows.shape[1])
        logits = []
        for start in range(0, len(rows), _CROPS_AT_ONCE):
            some = slice(start, start + _CROPS_AT_ONCE)
            crops = windows[rows[some], columns[some]]
            missing = _CROPS_AT_ONCE - len(crops)  # so that all batches have one shape
            crops = np.pad(crops, ((0, missing), (0, 0), (0, 0), (0, 0)))
            logits.append(self._crops(self._variables, crops)[: _CROPS_AT_ONCE - missing])
        return logits

    def window_logits(self, variables: Variables, images: jax.Array) -> jax.Array:
        """Returns the scores of all windows of a picture: the one pass, a pure function that `scores` jits.

        Args:
            variables: the network's variables.
            images: one scaled image, uint8 (1, height, width, channels), whose sides are those of a `Level`.

        Returns:
            (windows, classes), float32, row by row.
        """
        assert self.grid is not None  # else there is no such pass
        cells, step = self.grid.cells, self.stride // self.grid.stride
        with changed_last_map(lambda x: windows_of(x, cells, step)):
            return self._answer(variables, images)

    def _answer(self, variables: Variables, images: jax.Array) -> jax.Array:
        """Returns the network's logits for uint8 images."""
        logits = self.trained.model.apply(variables, normalize(images, self.trained.normalization), train=False)
        assert isinstance(logits, jax.Array)  # auxiliary heads have logits in training alone
        return logits

    @own_settings()
    def detect(
        self,
        image: np.ndarray,
        *,
        background: int | None = None,
        threshold: float = 0.5,
        overlap: float = 0.3,
        limit: int = 100,
    ) -> Detections:
        """Returns the objects of an image: of the windows in which a class is probable, one for each object.

        Args:
            image: uint8 (height, width, 1 or 3).
            background: the class of windows without an object, if the network has one. The labels of the others are
                counted without it.
            threshold: the least probability of a class that makes its window a detection.
            overlap: the largest intersection over union of two detections of one class.
            limit: the number of detections of a class, at most.

        Returns:
            The windows, whose scores are their classes' probabilities.

        Raises:
            UserError: as `scores` does; or the network does not have this background.
        """
        classes = self.trained.num_classes
        if background is not None and not 0 <= background < classes:
            raise UserError(
                f"class {background} cannot be the background of a network with the classes 0 to {classes - 1}: name "
                "one of these, or none"
            )
        boxes, scores = self.scores(image)
        shares = probabilities(scores)
        if background is not None:
            shares = np.delete(shares, background, axis=1)
        candidates = np.where(shares >= threshold, shares, -np.inf).astype(np.float32)
        return Detections.suppressed(boxes, candidates, overlap, limit)

    @functools.cached_property
    def _variables(self) -> Variables:
        """The variables on the device."""
        return jax.device_put(self.trained.variables)

    def _boxes(self, level: Level, height: int, width: int) -> np.ndarray:
        """Returns the windows of a scale in the image's own pixels, (windows, 4)."""
        top, left = np.mgrid[: level.rows, : level.columns].reshape(2, -1) * self.stride
        corners = np.stack([left, top, left + self.window, top + self.window], axis=1)
        shrink = np.array([width / level.width, height / level.height] * 2)
        return (corners * shrink).astype(np.float32)


def _count(steps: float) -> int:
    """Returns how many windows a side gets on which this many steps of a window fit: see `Sliding.levels`."""
    unit = 1 << max(0, int(steps).bit_length() - 4)
    return max(0, round(steps / unit)) * unit + 1


def _enough(window: int, height: int, width: int) -> str:
    """Returns the least scale at which a window fits into an image, rounded up."""
    return f"{math.ceil(100 * window / min(height, width)) / 100:g}"
