"""Images with annotated objects: what every source of them gives, whatever form its annotations have.

Boxes are float32 ``(n, 4)``: left, top, right, bottom, in pixels from the image's left upper corner. Coordinates are
continuous: a box covers [left, right) x [top, bottom), so that its width is right - left.
"""

import dataclasses
import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from jaxcnn.data.fingerprint import Fingerprint, fingerprint_of
from jaxcnn.text import escaped

_LOG = logging.getLogger(__name__)
_ROUNDING = 0.01
"""The pixels by which a box may reach beyond its image because of rounding, without a line in the log."""
_SHOWN = 3
"""The number of images that a line of the log names."""


@dataclasses.dataclass(frozen=True, eq=False)
class Objects:
    """The annotated objects of one image, in the order of its annotation."""

    boxes: np.ndarray
    """Their boxes, float32 of shape ``(n, 4)``: left, top, right, bottom, in pixels."""
    labels: np.ndarray
    """Their classes, int32 of shape ``(n,)``."""
    difficult: np.ndarray
    """Whether each is so hard to recognize that VOC's average precision neither counts it nor what finds it, bool of
    shape ``(n,)``."""
    crowd: np.ndarray
    """Whether each box holds a crowd of things of its class, as COCO has them, bool of shape ``(n,)``."""

    def __post_init__(self) -> None:
        count = len(self.boxes)
        for name, dtype, shape in (
            ("boxes", np.float32, (count, 4)),
            ("labels", np.int32, (count,)),
            ("difficult", np.bool_, (count,)),
            ("crowd", np.bool_, (count,)),
        ):
            array = getattr(self, name)
            if array.dtype != dtype or array.shape != shape:
                raise ValueError(f"{name} must be {np.dtype(dtype)} of shape {shape}, not {array.dtype} {array.shape}")
        if not np.isfinite(self.boxes).all():
            raise ValueError("boxes must be finite")

    @classmethod
    def of(
        cls,
        boxes: Sequence[Sequence[float]] | np.ndarray,
        labels: Sequence[int] | np.ndarray,
        difficult: Sequence[bool] | np.ndarray | None = None,
        crowd: Sequence[bool] | np.ndarray | None = None,
    ) -> "Objects":
        """Returns objects of sequences of any kind, none of them difficult or a crowd by default.

        Raises:
            ValueError: the sequences are not of one length, or a box is not of four finite numbers.
        """
        no = np.zeros(len(labels), np.bool_)
        return cls(
            np.asarray(boxes, np.float32).reshape(-1, 4),
            np.asarray(labels, np.int32).reshape(-1),
            no if difficult is None else np.asarray(difficult, np.bool_).reshape(-1),
            no if crowd is None else np.asarray(crowd, np.bool_).reshape(-1),
        )

    def __len__(self) -> int:
        return len(self.boxes)

    def chosen(self, which: np.ndarray) -> "Objects":
        """Returns some of the objects, chosen by indices, or by a mask of shape ``(n,)``."""
        return Objects(self.boxes[which], self.labels[which], self.difficult[which], self.crowd[which])


@dataclasses.dataclass(frozen=True, eq=False)
class AnnotatedImage:
    """An image, which is read when it is asked for, and its objects."""

    name: str
    """The name by which a person finds the image, such as the path of its file below the data set's folder."""
    image_id: int
    """The number of the image in COCO's results, which no other image of the split has."""
    width: int
    """The width of the image in pixels, by its annotation."""
    height: int
    """The height of the image in pixels, by its annotation."""
    objects: Objects
    """The objects. An image may have none."""
    read: Callable[[], np.ndarray]
    """A function that returns the image, uint8 of shape ``(height, width, 3)``, or raises `jaxcnn.errors.UserError`
    where it cannot be read or is of another size. Many threads may call it."""
    annotation: str = ""
    """The name by which a person finds the annotation, such as the path of its file."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", escaped(self.name))
        object.__setattr__(self, "annotation", escaped(self.annotation))


@dataclasses.dataclass(frozen=True, eq=False)
class AnnotatedSplit:
    """A split of a data set for detection."""

    name: str
    """The data set's name as it was asked for, such as ``coco:FOLDER``."""
    class_names: tuple[str, ...]
    """The classes' names, by label. The background is none of them."""
    category_ids: tuple[int, ...]
    """The numbers of the classes in COCO's results, by label."""
    images: Sequence[AnnotatedImage]
    """The images, in an order that does not change."""
    split: str = ""
    """The split's name, such as ``train``."""
    listing: Callable[[], Iterator[str]] | None = None
    """A function that yields a line for each file of the images, with its name and its size, as
    `jaxcnn.data.sources.Source.listing` does; None where the data set's name says everything."""

    def __post_init__(self) -> None:
        if len(self.class_names) != len(self.category_ids):
            raise ValueError(f"{len(self.class_names)} classes have {len(self.category_ids)} category_ids")
        object.__setattr__(self, "class_names", tuple(map(escaped, self.class_names)))

    @property
    def title(self) -> str:
        """The names of the data set and of the split, for messages."""
        return f"{escaped(self.name)}, split {self.split!r}"

    def __len__(self) -> int:
        return len(self.images)

    def fingerprint(self) -> Fingerprint:
        """Returns the split's fingerprint: that of its images' files, and of everything that is annotated.

        Raises:
            UserError: a file has gone since the split was opened.
        """

        def lines() -> Iterator[str]:
            for line in self.listing() if self.listing else ():
                yield escaped(line)
            for image in self.images:
                yield f"annotations/{image.name} {_digest(image)}"

        return fingerprint_of(self.title, self.split, len(self.images), self.class_names, lines)


def _digest(image: AnnotatedImage) -> str:
    digest = hashlib.sha256(f"{image.image_id} {image.width} {image.height} {len(image.objects)}\n".encode())
    for field in dataclasses.fields(image.objects):
        digest.update(np.ascontiguousarray(getattr(image.objects, field.name)).tobytes())
    return digest.hexdigest()


def within_images(images: Iterable[AnnotatedImage], title: str) -> list[AnnotatedImage]:
    """Returns the images with boxes that lie within them, each of some area.

    A box that reaches beyond its image is cut to it. An object whose box has no area, or none within its image, is left
    out, because nothing could find it or learn from it: the evaluation would count it as missed for ever. The log says
    of both in how many images they are, and names a few with the files of their annotations.

    Args:
        images: the images as they are annotated.
        title: the names of the data set and of the split, for the log.
    """
    found, cut, left_out = [], [], []
    for image in images:
        boxes = image.objects.boxes
        if not len(boxes):
            found.append(image)
            continue
        limits = np.array([image.width, image.height] * 2, np.float32)
        inner = np.clip(boxes, 0, limits)
        keep = np.all(inner[:, 2:] > inner[:, :2], axis=1)
        if (np.abs(inner - boxes)[keep] > _ROUNDING).any():
            cut.append(image)
        if not keep.all():
            left_out.append(image)
        objects = dataclasses.replace(image.objects, boxes=inner).chosen(keep)
        found.append(dataclasses.replace(image, objects=objects))
    if cut:
        _LOG.info("%s: boxes that reach beyond their images are cut to them, in %s", title, _named(cut))
    if left_out:
        _LOG.warning(
            "%s: objects whose boxes have no area in their images are left out, in %s", title, _named(left_out)
        )
    return found


def _named(images: Sequence[AnnotatedImage]) -> str:
    shown = ", ".join(
        f"{image.name} ({image.annotation})" if image.annotation else image.name for image in images[:_SHOWN]
    )
    return shown + (f" and {len(images) - _SHOWN:,} more" if len(images) > _SHOWN else "")
