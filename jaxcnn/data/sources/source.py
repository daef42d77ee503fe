"""One split of a data set, which every kind of data set gives, read by index."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from jaxcnn.errors import UserError
from jaxcnn.text import escaped


@dataclasses.dataclass(frozen=True)
class SourceRequest:
    """A request to open one split of a data set, with everything that opening it may depend on."""

    name: str
    """The data set's whole name, such as ``tfds:mnist``."""
    rest: str
    """What follows the first colon of the name, such as ``mnist``; empty where there is no colon."""
    split: str
    """The split's name; a kind that was registered with ``sliced`` checks it itself, any other need not."""
    data_dir: str | None
    """The folder of prepared data sets, where the user named one: ``DataConfig.data_dir``."""
    image_size: int
    """The height and width of the images, in pixels, for data sets that generate them."""
    max_bad_share: float
    """The largest share of the images that may be unreadable: what `refuse_bad` takes."""


@dataclasses.dataclass(frozen=True)
class Source:
    """One split of a data set. ``source[index]`` may be called from many threads.

    All text that it gives, of whatever kind the data set is, is `escaped`: it can be printed, stored and compared.
    """

    name: str
    """The data set's name as it was asked for, such as ``tfds:mnist``."""
    split: str
    """The split's name as it was asked for, such as ``train[:1000]``."""
    class_names: tuple[str, ...]
    """The classes' names, by label."""
    size: int
    """The number of images in the split."""
    read: Callable[[int], tuple[bytes | np.ndarray, int]]
    """A function from an index to an encoded file, or uint8 ``(height, width, 1 or 3)``, and its label. It raises
    ``OSError`` for an image that cannot be read, which then counts as bad."""
    describe: Callable[[int], str]
    """A function from an index to a text by which a person can find the image: a file's path, or a record's number."""
    bad: tuple[tuple[str, str], ...] = ()
    """The files left out because they are not images, as (path, reason)."""
    passed_over: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """The number of files of each kind that is not an image's, such as ``.json``, which are no images of the split and
    do not count as unreadable."""
    not_classes: tuple[str, ...] = ()
    """The names of what lies beside the classes and is none."""
    file_name: Callable[[int], str] | None = None
    """A function from an index to the name of the image's file, without folders; None where the data set knows none."""
    valid_labels: Callable[[int], Sequence[int]] | None = None
    """A function from an index to all labels that are right, none where no class is; None where each image has its one
    label."""
    label: Callable[[int], int] | None = None
    """A function from an index to the image's label, where it is known without reading the image; else None."""
    listing: Callable[[], Iterator[str]] | None = None
    """A function that yields a line for each file of the split, in a fixed order, with its name and its size; by these
    lines one can see later whether the split is still the same. None where the data set's name says everything."""

    def __post_init__(self) -> None:
        file_name, listing = self.file_name, self.listing
        safe = {
            "class_names": tuple(map(escaped, self.class_names)),
            "describe": _escaping(self.describe),
            "bad": tuple((escaped(path), escaped(reason)) for path, reason in self.bad),
            "passed_over": {escaped(kind): count for kind, count in self.passed_over.items()},
            "not_classes": tuple(map(escaped, self.not_classes)),
            "file_name": None if file_name is None else _escaping(file_name),
            "listing": None if listing is None else (lambda: map(escaped, listing())),
        }
        for name, value in safe.items():
            object.__setattr__(self, name, value)

    @property
    def title(self) -> str:
        """The names of the data set and of the split, for messages."""
        return f"{escaped(self.name)}, split {self.split!r}"

    def label_of(self, index: int) -> int:
        """Returns the label of an image, which is read only where its label is not known otherwise.

        Raises:
            OSError: it is read, and cannot be.
        """
        return self.read(index)[1] if self.label is None else self.label(index)

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> tuple[bytes | np.ndarray, int]:
        if not 0 <= index < self.size:
            raise IndexError(f"{index} is not in the {self.size} images of {self.title}")
        return self.read(index)


def _escaping(function: Callable[[int], str]) -> Callable[[int], str]:
    return lambda index: escaped(function(index))


def refuse_bad(bad: Sequence[tuple[str, str]], total: int, max_bad_share: float, where: str) -> None:
    """Refuses a split of which too many images cannot be read.

    Args:
        bad: (path or record, reason) of each image that cannot be read.
        total: the number of images in the split, these included.
        max_bad_share: the largest share that is let pass.
        where: the split's name, for the message.

    Raises:
        UserError: more than that share is bad. The message names the share, the limit and the first few images.
    """
    if len(bad) > max_bad_share * total:
        shown = ", ".join(f"{what} {reason}" for what, reason in bad[:3])
        raise UserError(
            f"{len(bad)} of {total} images of {where} cannot be read ({len(bad) / total:.2%}; max_bad_share allows "
            f"{max_bad_share:.2%}): {shown}{', ...' if len(bad) > 3 else ''}"
        )


def check_same_classes(train: Source, evaluation: Source) -> None:
    """Refuses two splits whose labels mean different classes.

    Raises:
        UserError: the classes differ. The message names those that only one of the splits has.
    """
    if train.class_names == evaluation.class_names:
        return
    only = [
        f"only {one.split!r} has {', '.join(map(repr, missing[:5]))}{', ...' if len(missing) > 5 else ''}"
        + (f" (there are no images in {missing[0]!r} of {other.split!r})" if missing[0] in other.not_classes else "")
        for one, other in ((train, evaluation), (evaluation, train))
        if (missing := [name for name in one.class_names if name not in set(other.class_names)])
    ]
    raise UserError(
        f"the splits of {escaped(train.name)} have different classes: {' and '.join(only) or 'in another order'}"
    )
