"""matplotlib, imported where something is drawn and nowhere else, because it is an extra."""

from pathlib import Path
from types import ModuleType

from jaxcnn.errors import UserError


def import_pyplot() -> ModuleType:
    """Returns ``matplotlib.pyplot``.

    Raises:
        UserError: matplotlib is not installed.
    """
    try:
        from matplotlib import pyplot
    except ImportError:
        raise UserError("drawing needs matplotlib, which is not installed: install the extra plot") from None
    return pyplot


def check_picture(path: Path) -> None:
    """Refuses a picture that could not be drawn, before the work that it would show.

    Raises:
        UserError: matplotlib is not installed, or draws no such files; or the picture's folder does not exist.
    """
    formats = import_pyplot().figure().canvas.get_supported_filetypes()
    import_pyplot().close()
    if path.suffix.removeprefix(".").lower() not in formats:
        raise UserError(f"the picture {path} has no name of a format that can be drawn: end it in .png, .svg or .pdf")
    if not path.parent.is_dir():
        raise UserError(
            f"the picture {path} cannot be written, because there is no folder {path.parent}: make it first"
        )
