"""Recipes compiled for TPUs that are not there: needs libtpu, which ``pip install 'jaxcnn[tpu]'`` brings."""

from pathlib import Path

import jax
import pytest

from jaxcnn.laboratory.memory_table import memory_lines
from jaxcnn.recipes import find_recipes

RECIPES = find_recipes("*_imagenet*")
DOCS = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text()
TOPOLOGY = "v5e:2x2"
MEGABYTES = 15.75 * 2**30 / 1e6
"""The part of a v5e's 16 GB that the compiler may use."""


@pytest.fixture
def quick_compilation():
    """As docs/recipes.md says that its figures were found."""
    level = jax.config.jax_optimization_level
    jax.config.update("jax_optimization_level", "O0")
    yield
    jax.config.update("jax_optimization_level", level)


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_compiles_for_tpus_and_fits_as_docs_say(name, quick_compilation):
    pytest.importorskip("libtpu")
    *_, line = memory_lines([RECIPES[name].config], TOPOLOGY)
    _, _, batch, micro_batches, *_, total, _ = line.split("|")
    assert 0 < float(total.replace(",", "")) < MEGABYTES
    assert f"\n| `{name}` |{batch}|{micro_batches}|" in DOCS
