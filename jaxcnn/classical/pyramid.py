"""The spatial pyramid: an image cut into cells at several levels, each of which is encoded by itself.

Lazebnik, Schmid and Ponce, "Beyond bags of features", CVPR 2006.
"""

from collections.abc import Sequence

import numpy as np


def cells_of(positions: np.ndarray, levels: Sequence[tuple[int, int]]) -> np.ndarray:
    """Returns which points lie in which cell, bool (cells, points), the cells of each level row by row.

    Args:
        positions: x and y of each point as shares of the image's width and height, (points, 2).
        levels: the number of rows and of columns at each level.

    Examples:
        >>> cells_of(np.array([[0.1, 0.9], [0.6, 0.2]]), [(1, 1), (2, 1)]).astype(int).tolist()
        [[1, 1], [0, 1], [1, 0]]
    """
    x, y = np.clip(positions, 0, np.nextafter(1, 0)).T
    found = []
    for rows, columns in levels:
        cell = (y * rows).astype(np.int64) * columns + (x * columns).astype(np.int64)
        found.append(cell == np.arange(rows * columns)[:, None])
    return np.concatenate(found)
