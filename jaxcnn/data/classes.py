"""Classes by name: which of a network's is meant by each label of a data set."""

from collections.abc import Sequence

import numpy as np

from jaxcnn.errors import UserError


def places_of_classes(
    names: Sequence[str], orders: Sequence[Sequence[str]], where: str
) -> tuple[tuple[str, ...], np.ndarray]:
    """Finds a data set's classes among a network's.

    Labels are taken by the classes' names, because places deceive: the folders of ImageNet-V2 are called by number and
    sorted as text, 0, 1, 10, 100.

    Args:
        names: the data set's, by label.
        orders: the network's classes in its order, each a way to call them. The numbers from 0 are one more way, where
            the data set has all of them.
        where: the data set's name, for messages.

    Returns:
        The order in which the data set's names were found; and each name's place in it, int32 of ``names``' length.

    Raises:
        UserError: no order has all of these names.
    """
    numbers = tuple(map(str, range(len(orders[0]))))
    for order in [*orders, *([numbers] if len(names) == len(numbers) else [])]:
        place = {name: index for index, name in enumerate(order)}
        if place.keys() >= set(names):
            return tuple(order), np.array([place[name] for name in names], np.int32)
    nearest = max(orders, key=lambda order: len(set(order) & set(names)))
    unknown = next(name for name in names if name not in set(nearest))
    raise UserError(
        f"{where} has {len(names)} classes, and the network {len(nearest)}: {unknown!r} is not one of the network's "
        f"classes, which are called {', '.join(map(repr, nearest[:2]))} and so on; name the data set's alike"
    )
