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
"""

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import flax.errors
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxcnn.augment.compose import normalize
from jaxcnn.data.crop import MAX_RESIZED_PIXELS
from jaxcnn.data.decode import with_channels
from jaxcnn.data.images import given
from jaxcnn.data.resize import resize
from jaxcnn.detection.detections import Detections
from jaxcnn.detection.suppression import suppress_each_class
from jaxcnn.devices.settings import own_settings
from jaxcnn.errors import UserError
from jaxcnn.layers.blocks import SqueezeExcite
from jaxcnn.models.network import Network
from jaxcnn.networks import check_image_shape
from jaxcnn.trained import Trained
from jaxcnn.types import Variables

SCALES = (2.0, 2.0**0.5, 1.0, 0.5**0.5, 0.5)
"""The usual scales of a pyramid, two an octave."""
_FAR = 1 << 13
"""How many pixels are added to a window to see how its last map grows: many, so that rounding tells nothing."""
_CANVASES = (2, 4, 8)
"""The sizes in windows of the pictures that `Sliding.context` tries, one after another."""


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


class Grid(NamedTuple):
    """What the last map of a network is to a window."""

    cells: int
    """The height and width of a window's last map, in positions."""
    stride: int
    """The network's total stride: the pixels between neighbouring positions."""


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
    grid: Grid
    """What the last map is to a window."""

    @own_settings()
    def __init__(
        self,
        trained: Trained,
        window: int | None = None,
        stride: int | None = None,
        scales: Sequence[float] = SCALES,
    ) -> None:
        """Checks that the network can be slid so; computes nothing.

        Args:
            trained: the network.
            window: the height and width of a window, in pixels; by default of the images that the network takes.
            stride: the distance of neighbouring windows, in pixels; by default the network's total stride.
            scales: the factors by which an image is scaled.

        Raises:
            UserError: the network does not take such windows, does not say which map is its last, or sees the whole
                image before it; the stride is not a multiple of the network's; or a scale is not a positive number.
        """
        self.trained, self.window, self.scales = trained, window or trained.data.evaluation_crop.size, tuple(scales)
        if not self.scales or not all(0 < scale < math.inf for scale in self.scales):
            raise UserError(
                f"the scales {self.scales} of the sliding window are not positive numbers: give one or more"
            )
        self.grid = grid_of(trained.model, trained.variables, self.window, trained.data.channels)
        self.stride = self.grid.stride if stride is None else stride
        if self.stride < 1 or self.stride % self.grid.stride:
            nearest = max(1, round(self.stride / self.grid.stride)) * self.grid.stride
            raise UserError(
                f"a stride of {self.stride} pixels is not a multiple of {self.grid.stride}, the total stride of "
                f"{_name(trained.model)}, so windows would lie between the positions of its last map: take {nearest}"
            )
        self._compute = jax.jit(self.window_logits)

    @functools.cached_property
    @own_settings()
    def context(self) -> int:
        """How many pixels beyond a window its scores see at most, on each side: a multiple of the total stride.

        It is found by computing the last map of a picture whose border is not a number, and seeing how far that gets.

        Raises:
            UserError: it gets everywhere: some layer sees the whole image.
        """
        model, (cells, stride) = _plain(self.trained.model), self.grid
        compute = jax.jit(lambda variables, images: jnp.isnan(_last_map(model, variables, images, cells)).any((0, 3)))
        for windows in _CANVASES:
            inner = self.window + math.ceil((windows - 1) * self.window / stride) * stride
            picture = np.full((1, inner + 2 * stride, inner + 2 * stride, self.trained.data.channels), np.nan)
            picture[:, stride:-stride, stride:-stride] = 0
            clean = ~np.asarray(compute(self.trained.variables, picture.astype(np.float32)))
            if clean.any():
                # The first position of the inner picture has the index 1, because the border is as wide as the stride.
                last = (inner - self.window) // stride + cells
                found = [np.flatnonzero(clean.any(axis)) for axis in (0, 1)]
                return stride * max(0, *(max(each[0] - 1, last - each[-1]) for each in found))
        raise UserError(f"{_name(self.trained.model)} {_MIXES}")

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
        logits = [
            self._compute(self._variables, resize(pixels, level.height, level.width, "bilinear")[None])
            for level in levels
        ]
        boxes = np.concatenate([self._boxes(level, height, width) for level in levels])
        return Scored(boxes, np.concatenate(list(map(np.asarray, logits))))

    def window_logits(self, variables: Variables, images: jax.Array) -> jax.Array:
        """Returns the scores of all windows of a picture: the one pass, a pure function that `scores` jits.

        Args:
            variables: the network's variables.
            images: one scaled image, uint8 (1, height, width, channels), whose sides are those of a `Level`.

        Returns:
            (windows, classes), float32, row by row.
        """
        cells, step = self.grid.cells, self.stride // self.grid.stride

        def cut(call, arguments, options, context):
            if not _takes_last_map(context):
                return call(*arguments, **options)
            return windows_of(arguments[0], cells, step)

        with nn.intercept_methods(cut):
            logits = self.trained.model.apply(variables, normalize(images, self.trained.normalization), train=False)
        assert isinstance(logits, jax.Array)  # auxiliary heads have logits in training alone
        return logits

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
        probabilities = np.exp(scores - scores.max(1, keepdims=True))
        probabilities /= probabilities.sum(1, keepdims=True)
        if background is not None:
            probabilities = np.delete(probabilities, background, axis=1)
        # The number of windows is rounded up, so that suppression is compiled for few; none is kept of those added.
        missing = (1 << (len(boxes) - 1).bit_length()) - len(boxes)
        candidates = np.where(probabilities >= threshold, probabilities, -np.inf).astype(np.float32)
        kept = suppress_each_class(
            np.pad(boxes, ((0, missing), (0, 0))),
            np.pad(candidates, ((0, missing), (0, 0)), constant_values=-np.inf),
            overlap,
            limit,
        )
        return Detections.of_classes(boxes, probabilities, *map(np.asarray, kept))

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


def windows_of(x: jax.Array, cells: int, step: int) -> jax.Array:
    """Returns the pieces of a map that its windows see, (windows, cells, cells, channels), row by row.

    Args:
        x: the map of one image, (1, height, width, channels).
        cells: the height and width of a piece.
        step: the distance of neighbouring pieces, in positions.
    """
    rows, columns = (
        np.arange(0, length - cells + 1, step)[:, None] + np.arange(cells)[None] for length in x.shape[1:3]
    )
    pieces = x[0, rows[:, None, :, None], columns[None, :, None, :]]
    return pieces.reshape(-1, cells, cells, x.shape[-1])


def grid_of(model: nn.Module, variables: Variables, window: int, channels: int) -> Grid:
    """Returns what the last map of a network is to a window, without computing anything.

    Args:
        model: the network.
        variables: its variables, or their shapes.
        window: the height and width of a window, in pixels.
        channels: the number of channels of an image.

    Raises:
        UserError: the network does not take such windows, does not say which map is its last, sees the whole image
            before it, or takes images of one size alone.
    """
    check_image_shape(model, variables, (window, window, channels), "the window")
    cells = _side(model, variables, window, channels, None)
    try:
        growth = _side(model, variables, window + _FAR, channels, cells) - cells
        stride = round(_FAR / growth) if growth else 0
        regular = stride and _side(model, variables, window + stride, channels, cells) == cells + 1
    except (ValueError, flax.errors.FlaxError):
        regular = False
    if not regular:
        raise UserError(
            f"{_name(model)} takes images of one size alone, so windows cannot share a pass: slide a network whose "
            "layers up to the last map take images of any size"
        )
    return Grid(cells, stride)


_MIXES = (
    "has layers before its last map that see the whole image, so windows cannot share a pass: slide a network without "
    "squeeze and excitation, such as efficientnet_lite0"
)


def _side(model: nn.Module, variables: Variables, size: int, channels: int, cells: int | None) -> int:
    """Returns the height and width of the last map of square images, in positions; the rest is as in `_last_map`."""
    images = jax.ShapeDtypeStruct((1, size, size, channels), jnp.float32)
    found = jax.eval_shape(functools.partial(_last_map, _plain(model), cells=cells), variables, images)
    return found.shape[1]


def _last_map(model: nn.Module, variables: Variables, images: ArrayLike, cells: int | None) -> jax.Array:
    """Returns the last map of images; what comes behind it sees only so many positions of its sides."""
    found: list[jax.Array] = []

    def keep(call, arguments, options, context):
        if isinstance(context.module, SqueezeExcite) and not found:
            raise UserError(f"{_name(model)} {_MIXES}")
        if not _takes_last_map(context):
            return call(*arguments, **options)
        found.append(arguments[0])
        return arguments[0][:, :cells, :cells]

    with nn.intercept_methods(keep):
        model.apply(variables, images, train=False)
    if not found:
        raise UserError(
            f"{_name(model)} does not say which map is its last, so windows cannot share a pass: have its __call__ "
            "give that map to self.last_map(...) of Network just before the layers that make logits of it"
        )
    return found[0]


def _takes_last_map(context: nn.module.InterceptorContext) -> bool:
    return context.method_name == Network.last_map.__name__ and not context.module.path


def _plain(model: nn.Module) -> nn.Module:
    """Returns a network whose convolutions compute nothing but what each position sees, which not all lowerings do."""
    return model.clone(lowering="xla") if isinstance(model, Network) else model


def _name(model: nn.Module) -> str:
    return f"the network {type(model).__name__}"


def _count(steps: float) -> int:
    """Returns how many windows a side gets on which this many steps of a window fit: see `Sliding.levels`."""
    unit = 1 << max(0, int(steps).bit_length() - 4)
    return max(0, round(steps / unit)) * unit + 1


def _enough(window: int, height: int, width: int) -> str:
    """Returns the least scale at which a window fits into an image, rounded up."""
    return f"{math.ceil(100 * window / min(height, width)) / 100:g}"
