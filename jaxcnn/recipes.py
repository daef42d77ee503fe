"""Recipes by path, and the config of a run folder."""

import runpy
from pathlib import Path

from jaxcnn.config import ConfigError, TrainConfig, from_json
from jaxcnn.errors import UserError

CONFIG_FILE = "config.json"
RECIPE_FILE = "recipe.py"


def load_config(path: Path) -> TrainConfig:
    """Placeholder until the rooms branch lands."""
    if path.is_dir():
        file = path / CONFIG_FILE
        if not file.is_file():
            raise UserError(f"{path} is not a run folder: it has no {CONFIG_FILE}")
        return from_json(file.read_text())
    if not path.is_file():
        raise UserError(f"there is no recipe or run folder {path}: give a file of configs/ or a folder of runs/")
    try:
        config = runpy.run_path(str(path)).get("config")
    except UserError as error:
        raise ConfigError(f"{path}: {error}") from None
    if not isinstance(config, TrainConfig):
        raise UserError(f"{path} is not a recipe: it must set config = TrainConfig(...)")
    return config
