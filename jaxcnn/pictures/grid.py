"""Small pictures side by side as one."""

import numpy as np

_GAP = 4
"""The pixels between two pictures, through which one sees what lies behind."""


def grid(pictures: np.ndarray, columns: int, side: int) -> np.ndarray:
    """Returns pictures side by side with gaps between them, uint8 (height, width, 4).

    Args:
        pictures: uint8 (pictures, height, width, 1 or 3), at least one.
        columns: the most pictures in a row.
        side: the side, in pixels, that the longer side of each is enlarged to, or nearly so, by a whole number.
    """
    count, height, width, _ = pictures.shape
    scale = max(1, side // max(height, width))
    tall, wide = height * scale, width * scale
    rows, columns = -(-count // columns), min(columns, count)
    found = np.zeros((rows * (tall + _GAP) - _GAP, columns * (wide + _GAP) - _GAP, 4), np.uint8)
    for index, each in enumerate(pictures.repeat(scale, 1).repeat(scale, 2)):
        top, left = index // columns * (tall + _GAP), index % columns * (wide + _GAP)
        found[top : top + tall, left : left + wide, :3] = each
        found[top : top + tall, left : left + wide, 3] = 255
    return found
