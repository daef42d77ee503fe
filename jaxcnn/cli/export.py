"""Writes a trained network as a file that runs, or is read, elsewhere; see docs/export.md.

jaxcnn export RUN_FOLDER --format stablehlo [--checkpoint best] [--weights-of ema] [--out FILE]
jaxcnn export MODEL --weights SOURCE --format stablehlo [--no-pixels] [--platforms cpu]
jaxcnn export MODEL_OR_RUN --format onnx [--no-pixels] [--fold-batch-norm]
jaxcnn export MODEL_OR_RUN --format savedmodel [--no-pixels] [--platforms cpu]
jaxcnn export MODEL_OR_RUN --format safetensors|pth [--names timm]

The file is read or run again, and compared with the network, before it has its name.
"""

import contextlib
import dataclasses
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import tyro

from jaxcnn.cli.shared import WhichWeights
from jaxcnn.errors import UserError, writing
from jaxcnn.export.onnx import export_onnx
from jaxcnn.export.savedmodel import export_savedmodel
from jaxcnn.export.stablehlo import Platform, export_stablehlo
from jaxcnn.export.weights import Names, export_weights
from jaxcnn.paths import expanded
from jaxcnn.trained import Trained

Format = Literal["safetensors", "pth", "stablehlo", "onnx", "savedmodel"]


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Write a trained network as a file for other programs."""

    network: tyro.conf.Positional[str]
    """A run folder, or a model's name."""
    format: Format
    """Weights alone (safetensors, or pth for torch.load), or a program with its weights: for JAX (stablehlo), for
    onnxruntime and others (onnx), or for TensorFlow (savedmodel, a folder)."""
    out: Path | None = None
    """The file to write; by default one named after the network and the format, in the current folder."""
    which: Annotated[WhichWeights, tyro.conf.arg(name="")] = dataclasses.field(default_factory=WhichWeights)
    names: Names = "torchvision"
    """For weights, whose names and layouts the tensors have; jaxcnn's are those of its own variables."""
    pixels: bool = True
    """A program takes uint8 pixels of the crop and gives probabilities; otherwise it takes normalized float32 images
    and gives logits."""
    platforms: tuple[Platform, ...] = ("cpu", "cuda", "tpu")
    """For stablehlo and savedmodel, where the program is to run. One for cpu alone has the convolutions that are
    fastest there."""
    fold_batch_norm: bool = False
    """For programs, fold batch normalization into the convolutions before it."""


def main(arguments: list[str]) -> int:
    """Returns the exit code."""
    chosen = tyro.cli(Arguments, prog="jaxcnn export", args=arguments)
    write = _writer(chosen)
    network = chosen.which.load(chosen.network)
    if network.origin is None or not network.variables:
        raise UserError(f"{chosen.network} is a program already: export the run or the model that it was made of")
    out = expanded(chosen.out or f"{network.origin.model}.{chosen.format}")
    if out.exists():
        raise UserError(f"there is {out} already: remove it, or give another --out")
    if chosen.fold_batch_norm:
        network = network.folded()
    partial = out.with_name(f".{out.name}.partial")
    with writing(out, "give another --out"):
        out.parent.mkdir(parents=True, exist_ok=True)
        try:
            compared = write(network, partial)
            os.replace(partial, out)
        finally:
            if partial.is_dir():
                shutil.rmtree(partial)
            with contextlib.suppress(FileNotFoundError):
                partial.unlink()
    print(f"{out} holds {compared}")
    return 0


def _writer(chosen: Arguments) -> Callable[[Trained, Path], str]:
    """Returns what writes and compares the file, and refuses options that are of another format."""
    defaults = {field.name: field.default for field in dataclasses.fields(Arguments)}
    of_weights = chosen.format in ("safetensors", "pth")
    foreign = ["pixels", "platforms", "fold_batch_norm"] if of_weights else ["names"]
    foreign += ["platforms"] if chosen.format == "onnx" else []
    for option in foreign:
        if getattr(chosen, option) != defaults[option]:
            raise UserError(f"--{option.replace('_', '-')} says nothing of {chosen.format}: leave it out")
    match chosen.format:
        case "onnx":
            return lambda network, path: export_onnx(network, path, pixels=chosen.pixels)
        case "stablehlo" | "savedmodel":
            export = export_stablehlo if chosen.format == "stablehlo" else export_savedmodel
            return lambda network, path: export(network, path, pixels=chosen.pixels, platforms=chosen.platforms)
        case kind:
            return lambda network, path: export_weights(network, path, kind, chosen.names)
