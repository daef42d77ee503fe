"""matplotlib, imported where something is drawn and nowhere else, because it is an extra."""

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
