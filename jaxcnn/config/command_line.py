"""How tyro, which parses the command line, reads a recipe's kinds of a role: with the description of each class."""

import typing

from tyro.constructors import ConstructorRegistry, StructConstructorSpec, StructFieldSpec, StructTypeInfo

from jaxcnn.config.registry import Role

ROLES = ConstructorRegistry()
"""What `tyro.cli` takes as ``registry``, so that ``--help`` describes each augmentation of a recipe."""


@ROLES.struct_rule
def _kinds_in_a_tuple(info: StructTypeInfo) -> StructConstructorSpec | None:
    """Reads a ``tuple[Augmentation, ...]`` by the classes of its defaults, whose descriptions tyro would leave out."""
    arguments = typing.get_args(info.type)
    if typing.get_origin(info.type) is not tuple or len(arguments) != 2 or arguments[1] is not ...:
        return None
    if not (isinstance(arguments[0], type) and issubclass(arguments[0], Role)):
        return None
    fields = [StructFieldSpec(str(index), type(item), item) for index, item in enumerate(info.default)]
    return StructConstructorSpec(instantiate=tuple, fields=tuple(fields))
