"""StableHLO: a network with its weights as one program, which runs with JAX alone, on images of any number and size.

A file is what ``jax.export`` makes of the program, and behind it a zip archive with `ABOUT`. Readers of the first part
go by what its beginning says and do not mind what follows, and readers of zip archives begin at the end: so
``jax.export.deserialize`` takes the bytes of the whole file, and any tool for zip archives shows what the network is.

Which lowerings of convolutions are in a program is settled when it is made. XLA's own convolution is the only one that
is good on accelerators, so it is the one in a program for several platforms. A program for CPUs alone has the lowerings
that ``auto`` follows here, which for depthwise and grouped convolutions are many times as fast there.
"""

import contextlib
import importlib.util
import io
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
from jax import export

from jaxcnn.errors import UserError
from jaxcnn.export.about import about, read, text
from jaxcnn.export.compared import agree, made_images
from jaxcnn.export.programs import as_network, program_of
from jaxcnn.ops.backend import rules_of
from jaxcnn.trained import Trained

Platform = Literal["cpu", "cuda", "tpu"]
ABOUT = "about.json"
"""The name of what is in the archive behind the program."""


def export_stablehlo(network: Trained, path: Path, *, pixels: bool, platforms: Sequence[Platform]) -> str:
    """Writes a network as a program of StableHLO, and compares the program in the file with the network.

    Batch, height and width are symbols; where the network takes images of one size only, the batch alone.

    Args:
        network: the network.
        path: the path of the file, whose content is replaced.
        pixels: whether the program takes uint8 pixels and gives probabilities; else it takes normalized float32 images
            and gives logits.
        platforms: the platforms on which the program is to run.

    Returns:
        The sentence that says what was compared.

    Raises:
        UserError: the program differs from the network, or flatbuffers is not installed.
        OSError: the file cannot be written.
    """
    _check_flatbuffers()
    function, size = program_of(network, pixels), network.data.evaluation_crop.size
    with lowered_for(platforms):
        try:
            exported = _exported(network, function, "batch, height, width", pixels, platforms)
        except UserError:  # dense layers on a map that is flattened, which fix the size
            exported = _exported(network, function, f"batch, {size}, {size}", pixels, platforms)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as about_it:
        about_it.writestr(zipfile.ZipInfo(ABOUT), text(about(network, pixels)))
    path.write_bytes(bytes(exported.serialize()) + archive.getvalue())
    program = _read(path)
    _, height, _, channels = exported.in_avals[0].shape
    any_size = not isinstance(height, int)
    shapes = [(1, size, size, channels), (3, size + 32 * any_size, size, channels)]
    largest = max(
        agree(program.call, function, made_images(shape, network, pixels), network, str(path)) for shape in shapes
    )
    which = "of any size" if any_size else f"of {size}x{size} pixels"
    sizes = " and ".join("x".join(map(str, shape[:3])) for shape in shapes)
    return (
        f"a program for {', '.join(exported.platforms)} and images {which}, which differs from the network "
        f"by {largest:.1e} at most on batches of {sizes}"
    )


def lowered_for(platforms: Sequence[Platform]) -> contextlib.AbstractContextManager[None]:
    """Makes the lowerings of convolutions in what is traced inside those for a program for these platforms."""
    return rules_of("cpu" if tuple(platforms) == ("cpu",) else "gpu")


def load_stablehlo(path: Path) -> Trained:
    """Loads what `export_stablehlo` wrote, as a network.

    Raises:
        UserError: the file is something else, its program is for other platforms, or flatbuffers is not installed.
    """
    _check_flatbuffers()
    try:
        with zipfile.ZipFile(path) as archive:
            stored = archive.read(ABOUT).decode()
        program = _read(path)
    except Exception as error:  # damaged bytes raise many kinds inside zipfile, zlib, flatbuffers and MLIR
        reason = ascii(str(error) or type(error).__name__)[1:-1]
        raise UserError(
            f"{path} is not a program that `jaxcnn export` wrote ({reason[:200]}): export it anew"
        ) from None
    facts = read(stored, path.name)
    here = {"gpu": "cuda"}.get(jax.default_backend(), jax.default_backend())
    if here not in program.platforms:
        raise UserError(
            f"{path} is a program for {', '.join(program.platforms)}, and this process runs on {here}: export it with "
            f"--platforms {here}"
        )
    return as_network(path, program.call, facts)


def _exported(
    network: Trained,
    function: Callable[[jax.Array], jax.Array],
    lengths: str,
    pixels: bool,
    platforms: Sequence[Platform],
) -> export.Exported:
    shape = (*export.symbolic_shape(lengths), network.data.channels)
    images = jax.ShapeDtypeStruct(shape, jnp.uint8 if pixels else jnp.float32)
    return export.export(jax.jit(function), platforms=tuple(platforms))(images)


def _read(path: Path) -> export.Exported:
    return export.deserialize(bytearray(path.read_bytes()))


def _check_flatbuffers() -> None:
    if importlib.util.find_spec("flatbuffers") is None:
        raise UserError("programs of StableHLO need flatbuffers: install jaxcnn[export]")
