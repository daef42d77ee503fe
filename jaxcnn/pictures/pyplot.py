"""The one place that asks for matplotlib."""

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
        raise UserError("drawing needs matplotlib: install the extra plot") from None
    return pyplot
