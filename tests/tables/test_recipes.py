"""The table of recipes in docs/recipes.md."""

from pathlib import Path

from jaxcnn.config import PublishedConfig, TrainConfig
from jaxcnn.recipes import find_recipes
from jaxcnn.tables.recipes import published_errors, recipe_lines

DOCS = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text()


def test_every_recipe_is_in_the_table_of_docs_with_what_it_says():
    """If one is not: `jaxcnn recipes --markdown`."""
    for line in recipe_lines(recipe.config for recipe in find_recipes().values()):
        assert f"\n{line}\n" in DOCS


def test_a_figure_that_is_not_published():
    one = PublishedConfig(top1_error=23.87, source="somebody")
    assert published_errors(TrainConfig(published=one)) == "23.87 / ?"
    assert published_errors(TrainConfig()) == ""
