"""The run folder: a folder of resumable work that also keeps the recipe's code, and what was changed on the way."""

import json
from collections.abc import Mapping
from pathlib import Path

from jaxcnn import strict_json
from jaxcnn.config import TrainConfig
from jaxcnn.errors import writing
from jaxcnn.paths import replace_whole
from jaxcnn.recipes import CONFIG_FILE, MODULES_FOLDER, RECIPE_FILE, Recipe
from jaxcnn.run_changes import overrides, refuse_other_code, with_whole_paths
from jaxcnn.types import Json
from jaxcnn.work_folder import OTHER_FOLDER, Fingerprints, WorkFolder, by_writer, may_move, read_kept

OVERRIDES_FILE = "overrides.json"
"""The file of a run folder that says which options were changed with ``--override``, and from which step on."""


class RunFolder(WorkFolder[TrainConfig]):
    """A run folder, which no other training can enter while this one is in it.

    Args:
        path: the folder, which is made when the run begins.
        recipe: the recipe that the config comes from, whose code the folder keeps.
        override: whether the options of `jaxcnn.run_changes.OVERRIDABLE` may change.
    """

    def __init__(self, path: Path, recipe: Recipe | None, *, override: bool) -> None:
        super().__init__(path, TrainConfig, "run")
        self._recipe = recipe
        self._override = override

    @property
    def overrides(self) -> Mapping[str, tuple[Json, Json]]:
        """The old and the new value of each option that `claim` found changed with ``--override``."""
        return self._judged or {}

    def _judge(self, stored: TrainConfig, config: TrainConfig, before: Fingerprints | None) -> Json:
        whole = with_whole_paths(stored)
        return overrides(whole, config, self.path, override=self._override, may_move=may_move(before, whole, config))

    def _refuse_others(self, before: Fingerprints | None, now: Fingerprints, images_of: str) -> None:
        if self._recipe is not None:
            refuse_other_code(self._recipe, self.path)
        super()._refuse_others(before, now, images_of)

    def begin(self, step: int = 0) -> None:
        """Writes down what the run begins or goes on with.

        Args:
            step: the step from which it does.

        Raises:
            UserError: the folder cannot be written.
            MachineError: the disk is full, or fails.
        """
        if self.writable:
            by_writer(lambda: self._begin(step))

    def _begin(self, step: int) -> None:
        with writing(self.path, OTHER_FOLDER):
            if self.overrides:
                past, latest = self.past_overrides(), {"step": step, "options": self.overrides}
                # The last sitting may have been killed before it wrote the config.
                record = [*(each for each in past if strict_json.dumps(each) != strict_json.dumps(latest)), latest]
                replace_whole(self.path / OVERRIDES_FILE, strict_json.dumps(record, indent=1) + "\n")
            for file, text in {**self._code(), **self._to_write}.items():
                file.parent.mkdir(parents=True, exist_ok=True)
                replace_whole(file, text)

    def _code(self) -> dict[Path, str]:
        """Returns the recipe's code, as far as it is to be written; a run that began without any keeps none."""
        recipe, kept = self._recipe, self.path / RECIPE_FILE
        begun = (self.path / CONFIG_FILE).is_file()
        if recipe is None or recipe.source is None or (begun and not kept.is_file()):
            return {}
        files = {self.path / MODULES_FOLDER / name: text for name, text in recipe.modules.items()}
        return {file: text for file, text in {**files, kept: recipe.source}.items() if not file.is_file()}

    def past_overrides(self) -> list[Json]:
        """Returns what the folder says of options that were changed with ``--override``, oldest first.

        Raises:
            ConfigError: its record cannot be read.
        """
        record = self.path / OVERRIDES_FILE
        return read_kept(record, json.loads) if record.is_file() else []
