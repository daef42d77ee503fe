"""What XLA has found out by timing kernels on a GPU, kept in a folder for machines that have none.

XLA chooses the algorithm of each convolution by timing cuDNN's on the GPU that it compiles for. Without a GPU it leaves
the choice open, and such a program cannot be run. But it can take the choices from a file that it has written on a GPU
of the same kind, for programs with the same convolutions: the network, the data type, and the number of images on each
GPU are then the same, and the number of GPUs may differ. Choices are found by a digest of the GPU's description, so
that is in the folder too, as the GPU itself gives it. Another version of XLA does not find them.
"""

import contextlib
import re
import tempfile
from collections.abc import Generator
from pathlib import Path

import jax

from jaxcnn.devices.machines import Machine
from jaxcnn.errors import UserError, writing
from jaxcnn.paths import replace_whole
from jaxcnn.text import escaped

_CHOICES, _GPU = "choices.txt", "gpu.txt"
_MARK = re.compile(r'"algo_id":"?-1\b')


@contextlib.contextmanager
def learning(folder: Path | None) -> Generator[dict[str, str]]:
    """Writes what XLA finds out about one program into a folder, at the end of the ``with`` block that compiles it.

    Args:
        folder: the folder, whose files are replaced; None writes nothing.

    Yields:
        The compiler's options.

    Raises:
        UserError: this process has no GPU, or the folder cannot be written.
    """
    if folder is None:
        yield {}
        return
    if jax.devices()[0].platform != "gpu":
        raise UserError(
            f"there is no GPU here whose kernels can be timed for {folder}: give --topology too, to compile with what "
            "the folder holds, or leave --tuned out"
        )
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        yield {"xla_gpu_dump_autotune_results_to": str(scratch / _CHOICES), "xla_dump_to": str(scratch / "dump")}
        described = max((scratch / "dump").glob("*.gpu_target_config.pbtxt"), key=lambda path: path.stat().st_mtime)
        with writing(folder, "name another folder with --tuned"):
            folder.mkdir(parents=True, exist_ok=True)
            replace_whole(folder / _GPU, described.read_bytes())
            replace_whole(folder / _CHOICES, (scratch / _CHOICES).read_bytes())


def learnt(folder: Path | None) -> dict[str, str]:
    """Returns the compiler's options that take the choices of a folder; none without a folder.

    XLA reads such a file once in a process, so all that a process compiles takes the same.
    """
    return {} if folder is None else {"xla_gpu_load_autotune_results_from": str(folder.absolute() / _CHOICES)}


def description_of(folder: Path, gpu: Machine) -> str:
    """Returns XLA's description of the GPU that a folder was written on.

    Args:
        folder: a folder that `learning` has written.
        gpu: the machine that it must be.

    Raises:
        UserError: the folder holds no choices, or those of another GPU.
    """
    try:
        text = (folder / _GPU).read_text()
        if not (folder / _CHOICES).is_file():
            raise FileNotFoundError(f"{_CHOICES} is missing")
    except (OSError, ValueError) as error:
        raise UserError(
            f"{folder} does not hold what XLA has found out on a GPU ({escaped(str(error))}): write it with `jaxcnn "
            f"compile RECIPE --out FILE --tuned {folder}` on one"
        ) from None
    found = re.search(r'device_description_str: "([^"]*)"', text)
    kind = found[1] if found else "an unknown GPU"
    if kind not in gpu.device_kinds:
        raise UserError(
            f"{folder} was written on {escaped(kind)}, which is not {gpu.title}: name the folder of such a GPU with "
            "--tuned"
        )
    return text


def open_choices(compiled: jax.stages.Compiled) -> int:
    """Returns the number of convolutions of a program for GPUs that have no algorithm, so that it cannot be run."""
    return len(_MARK.findall(compiled.as_text() or ""))
