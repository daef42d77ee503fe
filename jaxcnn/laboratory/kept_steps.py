"""Compiled steps, as far as predictions need them, kept in a report's file, so that none is compiled twice."""

import dataclasses
import json
from pathlib import Path

import jax

from jaxcnn import strict_json
from jaxcnn.config import TrainConfig, to_json
from jaxcnn.config.train import CHANGES_NO_BITS
from jaxcnn.errors import UserError, writing
from jaxcnn.laboratory.scaling import Step
from jaxcnn.paths import replace_whole
from jaxcnn.provenance import STEP, digest, digest_of_code
from jaxcnn.types import JsonObject

FORMAT = "jaxcnn scaling-report 2"
"""What the file says that it is."""


class Kept:
    """The file of a report: its compiled steps, by what they were compiled from, and what the report found.

    Args:
        path: the file, which need not exist yet; None keeps everything in memory alone.

    Raises:
        UserError: it is no file of a report.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._steps: dict[str, Step | str] = {}
        self._report: JsonObject = {}
        if path is None or not path.exists():
            return
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            if found["format"] != FORMAT:
                raise ValueError
            self._steps = {
                key: each if isinstance(each, str) else Step.from_json(each) for key, each in found["compiled"].items()
            }
            self._report = found
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            raise UserError(
                f"{path} is no report that jaxcnn scaling-report wrote: choose another --out, or delete it"
            ) from None

    def get(self, key: str) -> Step | str | None:
        """Returns the step that was compiled, or the sentence that refused it; None where neither is kept."""
        return self._steps.get(key)

    def put(self, key: str, found: Step | str) -> None:
        """Keeps a compiled step, or the sentence that refused it, and writes the file.

        Raises:
            UserError: the file cannot be written.
        """
        self._steps[key] = found
        self.write({})

    def write(self, report: JsonObject) -> None:
        """Writes the compiled steps and a report, in place of the parts of the file that have the same names.

        Raises:
            UserError: the file cannot be written.
        """
        compiled = {key: each if isinstance(each, str) else each.to_json() for key, each in sorted(self._steps.items())}
        self._report = {**self._report, "format": FORMAT, **report, "compiled": compiled}
        if self._path is None:
            return
        with writing(self._path, "choose another --out"):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            replace_whole(self._path, strict_json.dumps(self._report, indent=1) + "\n")


def key_of(config: TrainConfig, topology: str, machine: str, batch: int) -> str:
    """Returns what a compiled step is kept under: all that it depends on, options and code by their digests.

    Args:
        config: the options.
        topology: the name of the topology.
        machine: the name of the machine whose figures bound it.
        batch: the number of images on each chip.
    """
    options = json.loads(to_json(dataclasses.replace(config, data=dataclasses.replace(config.data, batch_size=1))))
    for option in ("published", *(each for each in CHANGES_NO_BITS if "." not in each)):
        options.pop(option, None)
    made = f"{digest(json.dumps(options, sort_keys=True))[:12]}, code {digest_of_code((*STEP, 'laboratory'))[:12]}"
    return f"{config.model.name} {made}, {batch} on each chip of {topology}, as {machine}, jax {jax.__version__}"
