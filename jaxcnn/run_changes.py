"""What may change from one sitting of a run to the next, and what a run keeps so that nothing else does.

An option that changes no bit of what is trained may change freely, and so may the place of the data set, where its
files are the same. An option of `OVERRIDABLE` may where the user says so. Nothing else may.
"""

import dataclasses
from pathlib import Path

from jaxcnn.config import ConfigError, TrainConfig, differences
from jaxcnn.config.options import with_absolute_paths
from jaxcnn.config.train import CHANGES_NO_BITS
from jaxcnn.data.sources import absolute_name
from jaxcnn.errors import UserError
from jaxcnn.ops.lowerings import LOWERINGS
from jaxcnn.paths import absolute
from jaxcnn.recipes import MODULES_FOLDER, RECIPE_FILE, Recipe, run_folder, same_code
from jaxcnn.types import Json
from jaxcnn.weights.published import is_published
from jaxcnn.work_folder import PLACE

OVERRIDABLE = ("epochs", "optimizer", "loss", "ema", "augmentations")
"""The options, and the groups of options, that may change with ``--override``. What they decide is a function of the
step, so training goes on as if they had had their new values from the beginning."""


def with_whole_paths(config: TrainConfig) -> TrainConfig:
    """Returns a config whose paths mean the same in every working directory.

    Raises:
        UserError: there is no such kind of data set, or a path begins in the home folder of an unknown user.
    """
    config = with_absolute_paths(config)
    data = dataclasses.replace(config.data, name=absolute_name(config.data.name))
    model, start = config.model, config.init_from
    if model.lowering not in ("auto", *LOWERINGS):
        model = dataclasses.replace(model, lowering=str(absolute(model.lowering)))
    if start is not None and (run_folder(start) or not is_published(start)):
        start = str(absolute(start))
    return dataclasses.replace(config, data=data, model=model, init_from=start)


def overrides(
    stored: TrainConfig, config: TrainConfig, folder: Path, *, override: bool, may_move: bool
) -> dict[str, tuple[Json, Json]]:
    """Returns the options of `OVERRIDABLE` that have changed since a run began, each with its old and new value.

    Args:
        stored: the config of the run.
        config: the config that it is to go on with.
        folder: the run folder, for the message.
        override: whether such options may change.
        may_move: whether the data set may lie elsewhere, because it is known to consist of the same files.

    Raises:
        ConfigError: another option has changed, or one of them and ``override`` is not set.
    """
    # The published figures change nothing in a run and may have been corrected.
    changed = differences(dataclasses.replace(stored, published=config.published), config)
    free = CHANGES_NO_BITS | (PLACE if may_move else frozenset())
    changed = {option: values for option, values in changed.items() if option not in free}
    overridden = {option: values for option, values in changed.items() if _may_override(option)}
    refused = {option: values for option, values in changed.items() if not (override and option in overridden)}
    if not refused:
        return overridden
    option, (old, new) = next(iter(refused.items()))
    others = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
    way_out = "choose another --workdir, or delete the folder"
    if refused.keys() <= overridden.keys():
        way_out = f"go on with the new value by --override, {way_out}"
    raise ConfigError(
        f"{folder} holds a run of another config, in which {option} is {old!r} and not {new!r}{others}: {way_out}"
    )


def _may_override(option: str) -> bool:
    return option.partition(".")[0] in OVERRIDABLE and option != "optimizer.kind"


def refuse_other_code(recipe: Recipe, folder: Path) -> None:
    """Refuses a recipe whose code, or that of a module it imports from beside it, is not what the run folder keeps.

    Raises:
        UserError: it is not.
    """
    pairs = {"recipe's own code": (recipe.source, folder / RECIPE_FILE)}
    for name, text in recipe.modules.items():
        pairs[f"code of {name}, which the recipe imports,"] = (text, folder / MODULES_FOLDER / name)
    for what, (text, kept) in pairs.items():
        if text is not None and kept.is_file() and not same_code(text, kept.read_text(encoding="utf-8")):
            raise UserError(
                f"the {what} has changed since the run in {folder} began: go on with `jaxcnn train {folder}`, which "
                "uses the code that the folder keeps, or choose another --workdir"
            )
