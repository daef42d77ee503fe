"""Matching a data set's classes with a network's by their names."""

from collections.abc import Sequence

import numpy as np

from jaxcnn.errors import UserError


def match_classes(
    names: Sequence[str], orders: Sequence[Sequence[str]], where: str
) -> tuple[tuple[str, ...], np.ndarray]:
    """Finds a data set's classes among a network's.

    Classes are matched by name, because equal labels need not mean equal classes: the folders of ImageNet-V2 are named
    by number and sorted as text, 0, 1, 10, 100.

    Args:
        names: the data set's class names, by label.
        orders: one or more lists of the network's classes in its order, each with another kind of names. Where the data
            set has as many classes as the network, the numbers from 0 are tried too.
        where: the data set's name, for messages.

    Returns:
        The list in which the data set's names were found, and each name's index in it, int32 of ``names``' length.

    Raises:
        UserError: no list has all of these names.
    """
    numbers = tuple(map(str, range(len(orders[0]))))
    for order in [*orders, *([numbers] if len(names) == len(numbers) else [])]:
        index_of = {name: index for index, name in enumerate(order)}
        if index_of.keys() >= set(names):
            return tuple(order), np.array([index_of[name] for name in names], np.int32)
    nearest = max(orders, key=lambda order: len(set(order) & set(names)))
    unknown = next(name for name in names if name not in set(nearest))
    raise UserError(
        f"{where} has {len(names)} classes, and the network {len(nearest)}: {unknown!r} is not one of the network's "
        f"classes, which are named {', '.join(map(repr, nearest[:2]))} and so on; give the data set's the same names"
    )
