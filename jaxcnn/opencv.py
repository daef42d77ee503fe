"""OpenCV, an extra that several parts use: imported where it is needed, and without threads of its own."""

import contextlib
from collections.abc import Generator
from types import ModuleType

from jaxcnn.errors import UserError


def import_opencv(what: str, extra: str) -> ModuleType:
    """Returns ``cv2``.

    Args:
        what: the name of what needs it, for the message.
        extra: the extra of this package that installs it.

    Raises:
        UserError: OpenCV is not installed.
    """
    try:
        import cv2
    except ImportError:
        raise UserError(f"{what} needs OpenCV, which is not installed: install the extra {extra}") from None
    return cv2


@contextlib.contextmanager
def opencv_without_threads(what: str, extra: str) -> Generator[None]:
    """Keeps OpenCV from starting threads of its own in a ``with`` block.

    Args:
        what: as for `import_opencv`.
        extra: as for `import_opencv`.

    Raises:
        UserError: OpenCV is not installed.
    """
    cv2 = import_opencv(what, extra)
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
