"""A run's training step, compiled on one machine and kept in a file, to be run on another without being compiled again.

The file is a zip of two parts. ``about.json`` says what the step was compiled from and for: the config, the code, the
versions, the devices, the arrays that it takes. All of that is compared before the other part is looked at.
``program`` is what `jax.experimental.serialize_executable` makes: a pickle around the machine code. Before it is read,
the names in it are compared with those that such a pickle has. **Machine code is run as it is, and nothing checks it**:
take a compiled step from nobody whose programs you would not run.
"""

import hashlib
import io
import json
import pickle
import zipfile
from pathlib import Path
from typing import NamedTuple

import jax
from jax.experimental import serialize_executable

from jaxcnn import strict_json
from jaxcnn.assembly import Assembly, abstract_arguments
from jaxcnn.config import differences, from_json, to_json
from jaxcnn.config.train import CHANGES_NO_BITS
from jaxcnn.devices.compilation import processor
from jaxcnn.devices.machines import machine_of
from jaxcnn.errors import UserError, writing
from jaxcnn.ops.lowering_rules import followed
from jaxcnn.paths import replace_whole
from jaxcnn.provenance import digest, digest_of_code, versions
from jaxcnn.recipes import Recipe
from jaxcnn.text import escaped
from jaxcnn.types import Json, JsonObject
from jaxcnn.work_folder import PLACE

_ABOUT, _PROGRAM = "about.json", "program"
_PACKAGES = ("jaxcnn", "jax", "jaxlib", "flax", "optax")
"""The packages whose versions decide what the step is, and whether its program can be read."""
_FREE = CHANGES_NO_BITS | PLACE | {"init_from", "ignore", "model.lowering"}
"""The options that may differ because the step does not depend on them; of the lowering its rules are compared."""
_NAMES = {
    "jax": {"P"},
    "jax._src.core": {"ManualAxisType", "MemorySpace", "ShapedArray"},
    "jax._src.interpreters.pxla": {"AllArgsInfo", "UnloadedMeshExecutable"},
    "jax._src.layout": {"AutoLayoutSingleton", "Layout"},
    "jax._src.linear_util": {"DebugInfo"},
    "jax._src.mesh": {"AbstractDevice", "AbstractMesh", "AxisType", "Mesh"},
    "jax._src.named_sharding": {"_unpickle_named_sharding"},
    "jax._src.stages": {"ArgInfo"},
    "jaxlib._jax": {"DeviceList"},
    "numpy": {"dtype", "ndarray"},
    "numpy._core.multiarray": {"_reconstruct"},
}
"""The names that the pickle of a compiled step looks up, by module. None does more than hold what it is given."""


class StepError(UserError):
    """An error for a file that is no compiled step, or not the one that a run needs."""


class _Part(NamedTuple):
    """A part of what a step was compiled from or for."""

    name: str
    """Its name in ``about.json``."""
    what: str
    """What it is called in a message."""
    way_out: str


_ANEW = "compile it anew with `jaxcnn compile`"
_PARTS = (
    _Part("versions", "package", f"install that version, or {_ANEW}"),
    _Part("code", "code", _ANEW),
    _Part("devices", "topology", "compile it for these devices with `jaxcnn compile --topology`"),
    _Part("settings", "setting", _ANEW),
    _Part("arrays", "array", _ANEW),
)


def write_step(path: Path, compiled: jax.stages.Compiled, assembly: Assembly, recipe: Recipe | None = None) -> None:
    """Writes a compiled step.

    Args:
        path: the path of the file, which is replaced where there is one.
        compiled: what ``assembly.train_step`` was compiled to.
        assembly: the parts of the run that it is the step of.
        recipe: the recipe that the config comes from.

    Raises:
        UserError: the file cannot be written.
        MachineError: the disk is full, or fails.
    """
    program, in_tree, out_tree = serialize_executable.serialize(compiled)
    assert (in_tree, out_tree) == _trees(assembly)
    about = _about(assembly, recipe) | {
        "config": json.loads(to_json(assembly.config)),
        "program": hashlib.sha256(program).hexdigest(),
    }
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(_ABOUT, strict_json.dumps(about, indent=1))
        file.writestr(_PROGRAM, program)
    with writing(path, "give another --out"):
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_whole(path, content.getvalue())


def read_step(path: Path, assembly: Assembly, recipe: Recipe | None = None) -> jax.stages.Compiled:
    """Returns the step that a file holds, ready to be called as ``assembly.train_step`` is.

    Args:
        path: the path of the file. Its machine code will be run, so it must come from somebody whom you trust.
        assembly: the parts of the run.
        recipe: the recipe that the config comes from.

    Raises:
        StepError: the file is not whole; or it was compiled from another config, code or version than those of this
            run, for other devices, or for arrays of other shapes.
    """
    about, program = _read(path)
    _check(path, about, assembly, recipe)
    try:
        if hashlib.sha256(program).hexdigest() != about["program"]:
            raise ValueError("its SHA-256 differs")
        _Names(io.BytesIO(program)).load()
    except Exception as error:  # a pickle that is not one of ours can raise anything
        reason = escaped(str(error).partition("\n")[0])
        raise StepError(f"{path} is not a whole compiled step ({reason}): fetch it again, or {_ANEW}") from None
    devices = list(assembly.parallel.mesh.devices.flat)
    try:
        return serialize_executable.deserialize_and_load(program, *_trees(assembly), execution_devices=devices)
    except Exception as error:  # the runtimes raise several types
        reason = escaped(str(error).partition("\n")[0])
        raise StepError(
            f"{path} was compiled for devices like these, and they do not take it ({reason}): compile it on this "
            "machine, without --topology"
        ) from error


def _trees(assembly: Assembly) -> tuple[jax.tree_util.PyTreeDef, jax.tree_util.PyTreeDef]:
    """Returns the structures of what the step takes and returns, which are known here and so are not in the file."""
    state, totals, batch = abstract_arguments(assembly)
    return jax.tree.structure(((state, totals, batch), {})), jax.tree.structure((state, totals))


def _about(assembly: Assembly, recipe: Recipe | None) -> dict[str, JsonObject]:
    """Returns what a step is compiled from and for, but for the config: each part as a mapping from names to values."""
    devices = list(assembly.parallel.mesh.devices.flat)
    rules = followed() if devices[0].platform == "cpu" else None  # which elsewhere choose nothing
    arrays = {
        jax.tree_util.keystr(path, simple=True, separator="/"): f"{leaf.dtype}{list(leaf.shape)}"
        for path, leaf in jax.tree_util.tree_leaves_with_path(abstract_arguments(assembly))
    }
    return {
        "versions": versions(_PACKAGES),
        "code": {"jaxcnn": digest_of_code(), "the recipe": _code_of_recipe(recipe)},
        "devices": {
            "platform": devices[0].platform,
            "kinds": ", ".join(sorted({_kind(device) for device in devices})),
            "devices": len(devices),
            "processes": len({device.process_index for device in devices}),
            "numbers": " ".join(str(device.id) for device in devices),
            "processor": processor() if devices[0].platform == "cpu" else None,
        },
        "settings": {
            "jax_default_matmul_precision": jax.config.values["jax_default_matmul_precision"],
            "lowering": digest(repr((assembly.model.lowering, rules))),
            "steps": assembly.total_steps,
            "steps in an epoch": str(assembly.steps_per_epoch),
        },
        "arrays": arrays,
    }


def _kind(device: jax.Device) -> str:
    """Returns the machine that a device is; the device itself and XLA's description may call it differently."""
    machine = machine_of(device)
    return machine.name if machine else device.device_kind


def _code_of_recipe(recipe: Recipe | None) -> str | None:
    return None if recipe is None else digest(repr((recipe.source, sorted(recipe.modules.items()))))


def _read(path: Path) -> tuple[JsonObject, bytes]:
    """Returns the two parts of a file; nothing in them is run."""
    try:
        with zipfile.ZipFile(path) as file:
            about, program = json.loads(file.read(_ABOUT)), file.read(_PROGRAM)
        if not all(isinstance(about.get(part.name), dict) for part in _PARTS):
            raise ValueError(f"{_ABOUT} says too little")
    except FileNotFoundError:
        raise StepError(f"there is no file {path}: make one with `jaxcnn compile RECIPE --out {path}`") from None
    except Exception as error:  # damaged bytes raise many kinds inside zipfile, zlib and json
        reason = escaped(str(error).partition("\n")[0])
        raise StepError(
            f"{path} is not a compiled step ({reason}): make one with `jaxcnn compile RECIPE --out {path}`"
        ) from None
    return about, program


def _check(path: Path, about: JsonObject, assembly: Assembly, recipe: Recipe | None) -> None:
    """Refuses a step that was compiled from or for something else."""
    now = _about(assembly, recipe)
    for part in _PARTS:
        before: JsonObject = about[part.name]
        for name in now[part.name] | before:
            if now[part.name].get(name) != before.get(name):
                raise StepError(_sentence(path, part, name, before.get(name), now[part.name].get(name)))
    kept = from_json(strict_json.dumps(about["config"]))
    for option, (old, new) in differences(kept, assembly.config).items():
        if option not in _FREE and not option.startswith("published."):
            raise StepError(
                f"{path} was compiled from another config, in which {option} is {escaped(repr(old))} and not {new!r}: "
                f"train with that, or {_ANEW}"
            )


def _sentence(path: Path, part: _Part, name: str, before: Json, now: Json) -> str:
    if part.name == "code":
        return f"{path} was compiled from other code of {name} than this: {part.way_out}"
    return (
        f"{path} was compiled for another {part.what}: {escaped(name)} is {escaped(str(before))} there and {now} here: "
        f"{part.way_out}"
    )


class _Inert:
    """What stands for every object of a pickle while its names are compared; it does nothing."""

    def __new__(cls, *_: object, **__: object) -> "_Inert":
        return object.__new__(cls)

    def __setstate__(self, state: object) -> None:
        pass


class _Names(pickle.Unpickler):
    """Goes through a pickle and makes nothing of it; refuses names that a compiled step does not need."""

    def find_class(self, module: str, name: str) -> type[_Inert]:
        """Returns what stands for an object.

        Raises:
            ValueError: the name is none of `_NAMES`.
        """
        if name not in _NAMES.get(module, ()):
            raise ValueError(f"it asks for {module}.{name}")
        return _Inert

    def persistent_load(self, _: object) -> _Inert:
        """Returns what stands for the machine code, a device or the client."""
        return _Inert()
