"""What runs came to, stored and put into the table."""

import dataclasses
import json
from pathlib import Path

import pytest

from jaxcnn.config import DataConfig, EMAConfig, ModelConfig, TrainConfig, to_json
from jaxcnn.errors import UserError
from jaxcnn.models.registry import list_models
from jaxcnn.tables import recipe_results, reproduction
from jaxcnn.tables.recipe_results import RecipeResult, read, result_of, save, table
from jaxcnn.tables.stored import with_table
from jaxcnn.weights.published import published_weights

ROOT = Path(__file__).parent.parent.parent
RECIPE = '''"""Ours: published 1 %.

And more.
"""

from jaxcnn.config import DataConfig, EMAConfig, TrainConfig

config = TrainConfig(name="ours", epochs=2.5, data=DataConfig(batch_size=64), ema=EMAConfig(decay=0.9))
'''


@pytest.fixture
def recipes(tmp_path):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "ours.py").write_text(RECIPE)
    (tmp_path / "configs" / "theirs.py").write_text(RECIPE.replace("Ours: published 1 %", "Theirs"))
    return tmp_path / "configs"


def run(folder, step=57, **changes):
    """A run folder whose last evaluation was at a step; 2.5 epochs of 1,437 images are 56.1 batches of 64."""
    config = TrainConfig(
        name="ours",
        epochs=2.5,
        model=ModelConfig(num_classes=10),
        data=DataConfig(batch_size=64, data_dir="there", workers=3),
        ema=EMAConfig(decay=0.9),
    )
    config = dataclasses.replace(config, **changes)
    folder.mkdir()
    (folder / "config.json").write_text(to_json(config))
    start = {"kind": "start", "step": 0, "training_images": 1437, "devices": ["cpu", "cpu"], "versions": {"jax": "0"}}
    errors = {"loss": 0.5, "top1_error": 2.5, "top5_error": 0.25, "images": 400}
    errors |= {f"ema_{name}": value for name, value in errors.items()} | {"ema_top1_error": 1.5}
    lines = [start, {"kind": "evaluation", "step": 30, **errors, "top1_error": 9.0}]
    lines += [{"kind": "evaluation", "step": step, **errors}, {"kind": "train", "step": step}]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_a_run_is_stored_and_in_the_table(recipes, tmp_path):
    found = result_of(run(tmp_path / "run"), recipes)
    assert found == RecipeResult(
        recipe="ours",
        images=400,
        epochs=2.5,
        errors={1: 2.5, 5: 0.25},
        ema_errors={1: 1.5, 5: 0.25},
        date=found.date,
        device="2 cpu",
        versions={"jax": "0"},
    )
    assert save(found, tmp_path / "results") == tmp_path / "results" / "ours.json"
    assert read(tmp_path / "results") == {"ours": found}
    assert table(read(tmp_path / "results"), recipes).splitlines()[2:] == [
        f"| `ours` | Ours: published 1 %. | 2.50 / 0.25 | 1.50 / 0.25 | 400 | 2.5 | {found.date}, 2 cpu |",
        "| `theirs` | Theirs. | not run |  |  |  |  |",
    ]


def test_runs_that_are_no_result(recipes, tmp_path):
    with pytest.raises(UserError, match=r"early is not at its end, so it has no result yet: go on with `jaxcnn train"):
        result_of(run(tmp_path / "early", step=56), recipes)
    (run(tmp_path / "unstarted") / "metrics.jsonl").unlink()
    with pytest.raises(UserError, match="unstarted is not at its end"):
        result_of(tmp_path / "unstarted", recipes)
    with pytest.raises(
        UserError, match=r"not of the recipe ours as it stands, because it changes ema\.decay, seed: give it"
    ):
        result_of(run(tmp_path / "other", seed=1, ema=EMAConfig()), recipes)
    with pytest.raises(UserError, match=r"there is no recipe or run folder .*configs/mine.py"):
        result_of(run(tmp_path / "named", name="mine"), recipes)
    with pytest.raises(UserError, match="is not a run folder"):
        result_of(tmp_path, recipes)


def test_results_that_are_none(recipes, tmp_path):
    found = result_of(run(tmp_path / "run"), recipes)
    with pytest.raises(UserError, match=r"there is a result of 'gone', and no such recipe in .*: remove it"):
        table({"gone": found}, recipes)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "ours.json").write_text('{"recipe": "ours"}')
    with pytest.raises(UserError, match=r"ours.json is not a result of `jaxcnn reproduce`: Field required"):
        read(tmp_path / "results")


def test_a_table_stands_between_its_lines():
    begin, end = "<!-- a: jaxcnn reproduce --tables writes from here -->\n", "<!-- a: to here -->\n"
    written = with_table(f"before\n{begin}old\n{end}after\n", "a", "| new |\n")
    assert written == f"before\n{begin}\n| new |\n\n{end}after\n"
    for document in ("", f"{end}{begin}", begin):
        with pytest.raises(UserError, match="the document has no place for the table of a"):
            with_table(document, "a", "")
    with pytest.raises(UserError, match="no place for the table of b"):
        with_table(written, "b", "")


def test_the_document_is_up_to_date():
    """If it is not: jaxcnn reproduce --tables."""
    document = (ROOT / "docs" / "results.md").read_text()
    recipes, weights = read(ROOT / "docs/results/recipes"), reproduction.read(ROOT / "docs/results/weights")
    written = with_table(document, "recipes", recipe_results.table(recipes, ROOT / "configs"))
    assert with_table(written, "weights", reproduction.table(weights)) == document
    rows = [entry for name in list_models() for entry in published_weights(name)]
    assert document.count("| not run |") == len(rows) - len(weights) + len(list((ROOT / "configs").glob("*.py"))) - len(
        recipes
    )
