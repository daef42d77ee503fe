"""How the command line's parser, tyro, reads the kinds of a role in a recipe: each with its class's description."""

import typing

from tyro.constructors import ConstructorRegistry, StructConstructorSpec, StructFieldSpec, StructTypeInfo

from jaxcnn.config.registry import Role

ROLES = ConstructorRegistry()
"""What `tyro.cli` takes as ``registry``, so that ``--help`` describes each augmentation of a recipe."""


@ROLES.struct_rule
def _kinds_in_a_tuple(info: StructTypeInfo) -> StructConstructorSpec | None:
    """Of a ``tuple[Augmentation, ...]``, the classes of its defaults; tyro alone leaves out what describes them."""
    arguments = typing.get_args(info.type)
    if typing.get_origin(info.type) is not tuple or len(arguments) != 2 or arguments[1] is not ...:
        return None
    if not (isinstance(arguments[0], type) and issubclass(arguments[0], Role)):
        return None
    fields = [StructFieldSpec(str(index), type(item), item) for index, item in enumerate(info.default)]
    return StructConstructorSpec(instantiate=tuple, fields=tuple(fields))
