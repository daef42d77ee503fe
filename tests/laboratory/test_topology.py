"""Recipes compiled for TPUs that are not there: needs libtpu, which ``pip install 'jaxcnn[tpu]'`` brings."""

from pathlib import Path

import jax
import pytest

from jaxcnn.tables.recipes import find_recipes, memory_lines, recipe_lines

ROOT = Path(__file__).parent.parent.parent
RECIPES = find_recipes(ROOT / "configs", "*")
DOCS = (ROOT / "docs" / "recipes.md").read_text()
TOPOLOGY = "v5e:2x2"
MEGABYTES = 15.75 * 2**30 / 1e6
"""Of a v5e's 16 GB, what the compiler may use."""


def test_every_recipe_is_in_the_table_of_docs_with_what_it_says():
    for line in recipe_lines(RECIPES.values()):
        assert f"\n{line}\n" in DOCS


@pytest.fixture
def quick_compilation():
    """As docs/recipes.md says that its figures were found."""
    level = jax.config.jax_optimization_level
    jax.config.update("jax_optimization_level", "O0")
    yield
    jax.config.update("jax_optimization_level", level)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in RECIPES if "imagenet" in name])
def test_a_recipe_compiles_for_tpus_and_fits_as_docs_say(name, quick_compilation):
    pytest.importorskip("libtpu")
    *_, line = memory_lines([RECIPES[name]], TOPOLOGY)
    _, _, batch, micro_batches, *_, total, _ = line.split("|")
    assert 0 < float(total.replace(",", "")) < MEGABYTES
    assert f"\n| `{name}` |{batch}|{micro_batches}|" in DOCS
