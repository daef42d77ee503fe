"""The run folder: one training at a time is in it, and what it keeps of the run's config, code and images."""

import contextlib
import errno
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from jaxcnn import strict_json
from jaxcnn.config import ConfigError, TrainConfig, from_json, to_json
from jaxcnn.data.fingerprint import Fingerprint
from jaxcnn.devices.processes import gather, is_writer
from jaxcnn.errors import MachineError, UserError, writing
from jaxcnn.recipes import CONFIG_FILE, MODULES_FOLDER, RECIPE_FILE, Recipe
from jaxcnn.run_changes import overrides, refuse_other_code, refuse_other_images, with_whole_paths
from jaxcnn.training.lock import FolderLock
from jaxcnn.training.report import replace_whole
from jaxcnn.types import Json

DATA_FILE = "data.json"
"""The file of a run folder that holds the fingerprints of its splits."""
OVERRIDES_FILE = "overrides.json"
"""The file of a run folder that says which options were changed with ``--override``, and from which step on."""
_OTHER_FOLDER = "choose another --workdir"


class RunFolder:
    """A run folder, which no other training can enter while this one is in it.

    Where several processes train together, all of them make the same calls. Process 0 alone looks at the folder and
    writes there; what it refuses, all of them raise.

    Args:
        path: the folder, which is made when the run begins.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.writable = True
        """Whether the folder can be written, which the result of a finished run does not need."""
        self.overrides: Mapping[str, tuple[Json, Json]] = {}
        """The old and the new value of each option that `claim` found changed with ``--override``."""
        self._lock = FolderLock(path)
        self._made = False
        self._to_write: dict[Path, str] = {}

    def __enter__(self) -> "RunFolder":
        """Refuses a path that can be no run folder, and a folder that another training is in.

        Raises:
            UserError: it is such a path or folder.
            MachineError: the disk is full, or fails.
        """
        self.writable = _by_writer(self._enter)
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()
        if self._made:
            with contextlib.suppress(OSError):  # it is not empty, where the run has begun
                self.path.rmdir()

    def _enter(self) -> bool:
        with writing(self.path, _OTHER_FOLDER):
            if self.path.is_symlink() and not self.path.exists():
                raise UserError(
                    f"{self.path} is a link to {os.readlink(self.path)}, which does not exist: make that folder, or "
                    f"{_OTHER_FOLDER}"
                )
            if self.path.exists() and not self.path.is_dir():
                raise UserError(f"{self.path} is a file and not a folder: {_OTHER_FOLDER}")
            if not self.path.exists():
                return True
            try:
                self._lock.acquire()
            except OSError as error:
                if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                    raise
                if not (self.path / CONFIG_FILE).is_file():
                    raise
                return False
            return True

    def claim(
        self, config: TrainConfig, recipe: Recipe | None, fingerprints: Mapping[str, Fingerprint], *, override: bool
    ) -> None:
        """Makes sure that the run in the folder, if there is one, is the one that is asked for; writes nothing.

        Args:
            config: the config that is asked for, with everything resolved.
            recipe: the recipe that it comes from, whose code the folder keeps.
            fingerprints: the fingerprints of the run's splits, by what they are for.
            override: whether the options of `jaxcnn.run_changes.OVERRIDABLE` may change.

        Raises:
            UserError: the config, the recipe's code or the images are others than those that the run began with; or
                another training has made the folder meanwhile.
            MachineError: the disk is full, or fails.
        """
        self.overrides = _by_writer(lambda: self._claim(config, recipe, fingerprints, override))

    def _claim(
        self, config: TrainConfig, recipe: Recipe | None, fingerprints: Mapping[str, Fingerprint], override: bool
    ) -> dict[str, tuple[Json, Json]]:
        with writing(self.path, _OTHER_FOLDER):
            if not self.path.exists():
                self.path.mkdir(parents=True, exist_ok=True)
                self._made = True
            if self.writable:
                self._lock.acquire()
        images, config_file = self.path / DATA_FILE, self.path / CONFIG_FILE
        begun, changed = config_file.is_file(), {}
        if begun:
            stored = _read(config_file, from_json)
            before = _read(images, _fingerprints) if images.is_file() else None
            if recipe is not None:
                refuse_other_code(recipe, self.path)
            if before is not None:
                refuse_other_images(before, fingerprints, config.data.name, self.path)
            same_files = before is not None and all(each.parts for each in before.values())
            whole = with_whole_paths(stored)
            changed = overrides(whole, config, self.path, override=override, same_files=same_files)
            if stored == config:
                config_file = None
        # The config comes last: a folder without it holds no run.
        if not images.is_file():
            prints = {use: found.to_json() for use, found in fingerprints.items()}
            self._to_write[images] = strict_json.dumps(prints, indent=1) + "\n"
        if recipe is not None and recipe.source is not None and not (begun and not (self.path / RECIPE_FILE).is_file()):
            files = {self.path / MODULES_FOLDER / name: text for name, text in recipe.modules.items()}
            files[self.path / RECIPE_FILE] = recipe.source
            self._to_write |= {file: text for file, text in files.items() if not file.is_file()}
        if config_file is not None:
            self._to_write[config_file] = to_json(config)
        return changed

    def begin(self, step: int) -> None:
        """Writes down what the run begins or goes on with.

        Args:
            step: the step from which it does.

        Raises:
            UserError: the folder cannot be written.
            MachineError: the disk is full, or fails.
        """
        if self.writable:
            _by_writer(lambda: self._begin(step))

    def _begin(self, step: int) -> None:
        with writing(self.path, _OTHER_FOLDER):
            if self.overrides:
                past, latest = self.past_overrides(), {"step": step, "options": self.overrides}
                # The last sitting may have been killed before it wrote the config.
                record = [*(each for each in past if strict_json.dumps(each) != strict_json.dumps(latest)), latest]
                replace_whole(self.path / OVERRIDES_FILE, strict_json.dumps(record, indent=1) + "\n")
            for file, text in self._to_write.items():
                file.parent.mkdir(parents=True, exist_ok=True)
                replace_whole(file, text)

    def past_overrides(self) -> list[Json]:
        """Returns what the folder says of options that were changed with ``--override``, oldest first.

        Raises:
            ConfigError: its record cannot be read.
        """
        record = self.path / OVERRIDES_FILE
        return _read(record, json.loads) if record.is_file() else []


def _by_writer(action: Callable[[], Json]) -> Json:
    """Carries out an action in process 0, and returns its result, or raises its error, in all processes."""
    outcome, raised = {}, None
    if is_writer():
        try:
            outcome = {"result": action()}
        except (UserError, MachineError) as error:
            raised = error
            outcome = {"error": str(error), "of_the_machine": isinstance(error, MachineError)}
    outcome = gather(outcome)[0]
    if raised is not None:
        raise raised
    if "error" in outcome:
        raise (MachineError if outcome["of_the_machine"] else UserError)(outcome["error"])
    return outcome["result"]


def _read(file: Path, parse: Callable[[str], Json]) -> Json:
    try:
        return parse(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        said = error if isinstance(error, UserError) else "it is not what was written there"
        raise ConfigError(f"{file} cannot be read: {said}; restore it, or {_OTHER_FOLDER}") from error


def _fingerprints(text: str) -> dict[str, Fingerprint]:
    return {use: Fingerprint.from_json(each) for use, each in json.loads(text).items()}
