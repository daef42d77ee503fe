"""The paths that JAX gives to operations, read for the module and the phase of a step that each belongs to.

A path is made of the functions, transformations, named scopes and Flax modules that an operation was traced in, such as
``jit(step)/transpose(jvp(ResNet))/stage1_block0/conv1/conv_general_dilated``. XLA keeps it through all of its passes.
"""

import re
from typing import Literal, get_args

Phase = Literal["augmentation", "forward", "backward", "optimizer", "statistics", "loss", "other"]
PHASES: tuple[Phase, ...] = get_args(Phase)

_SCOPES: tuple[Phase, ...] = ("augmentation", "optimizer", "statistics", "loss")
"""The phases that are named scopes of `jaxcnn.training.step`; the others follow from the transformations."""
_CONTROL = re.compile(
    r"(while|body|cond|closed_call|checkpoint|rematted_computation|remat\d?|scan|shmap_body|shard_map|pmap|pjit|"
    r"core_call|custom_[jv][jv]p_call\w*|branch_\d+_fun|xla_pmap)"
)
_TRANSFORM = re.compile(r"(\w+)\((.*)\)")
_MODULE = re.compile(r"[a-z_][\w\-]*")


def phase_of(op_name: str) -> Phase:
    """Returns the phase of a training step that an operation belongs to.

    Everything that is differentiated is ``forward`` or, where it is transposed, ``backward``; ``loss`` is the loss in
    both directions. What is in none of the scopes and is not differentiated is ``forward`` where a Flax module computes
    it, as in evaluation, and ``other`` where not.
    """
    path = op_name.partition(";")[0]
    elements = [_unwrapped(each) for each in path.split("/")]
    for scope in _SCOPES:
        if scope in elements:
            return scope
    if "transpose(" in path:
        return "backward"
    if "jvp(" in path or layer_of(op_name):
        return "forward"
    return "other"


def layer_of(op_name: str) -> str:
    """Returns the path of the Flax module that an operation belongs to: ``stage1_block0/conv1``.

    It is "" for what no module or only the network itself computes, and for what XLA has joined from several
    operations, whose paths then stand in parentheses with colons between.
    """
    path = op_name.partition(";")[0]
    if ":" in path:
        return ""
    *elements, _ = path.split("/")
    layer = []
    for element in elements:
        name = _unwrapped(element)
        if name in _SCOPES:
            return ""
        # A method of a module stands there with its class or module before a dot; the network is named by its class.
        if name and "." not in name and _MODULE.fullmatch(name) and not _CONTROL.fullmatch(name):
            layer.append(name)
    return "/".join(layer)


def _unwrapped(element: str) -> str:
    """Returns what stands inside of the transformations; "" for functions, whose names are no modules'."""
    while found := _TRANSFORM.fullmatch(element):
        if found[1] in ("jit", "pjit", "pmap"):
            return ""
        element = found[2]
    return element
