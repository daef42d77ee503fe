"""Recipes by name and by path, executed once, and the one that a run folder keeps."""

import dataclasses
import sys
from pathlib import Path

import pytest

from jaxcnn.config import ConfigError, TrainConfig, to_json
from jaxcnn.errors import UserError
from jaxcnn.models.registry import list_models
from jaxcnn.recipes import SHIPPED, find_recipes, load_config, load_recipe, run_folder

TINY = Path(__file__).parent / "recipes" / "tiny.py"
PLAIN = '''"""Plain.

And more.
"""

from jaxcnn.config import TrainConfig

config = TrainConfig(name="plain", seed=7)
'''
# Notes down that it was executed, and has its own classes' annotations looked up.
BRINGING = """
import dataclasses
import pathlib
import typing

import flax.linen as nn
import pydantic.dataclasses

from jaxcnn.config import TrainConfig

with pathlib.Path("executions.txt").open("a") as file:
    file.write("once\\n")


@dataclasses.dataclass(frozen=True)
class Width:
    features: "Features" = 3


@pydantic.dataclasses.dataclass(frozen=True)
class Options:
    width: "Width"


class Network(nn.Module):
    features: "Features" = 3


Features = int
assert typing.get_type_hints(Width) == {"features": int}
assert typing.get_type_hints(Network)["features"] is int
Options(Width())
config = TrainConfig(name="bringing")
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_run(folder, config, recipe=None):
    folder.mkdir()
    (folder / "config.json").write_text(to_json(config))
    if recipe is not None:
        (folder / "recipe.py").write_text(recipe)
    return folder


@pytest.mark.parametrize("name", [path.stem for path in sorted(SHIPPED.glob("*.py"))])
def test_every_shipped_recipe_is_found_by_its_name(name, here):
    recipe = load_recipe(name)
    assert recipe.name == recipe.config.name == name
    assert recipe.source == (SHIPPED / f"{name}.py").read_text()
    assert recipe.run is None
    assert len(recipe.summary) > 20
    assert load_config(SHIPPED / f"{name}.py") is recipe.config


def test_shipped_recipes_are_those_of_configs():
    assert list(find_recipes()) == sorted(path.stem for path in (Path(__file__).parents[1] / "configs").glob("*.py"))
    assert list(find_recipes("lenet*")) == ["lenet_digits", "lenet_fashion_mnist", "lenet_mnist"]
    with pytest.raises(UserError, match="no recipe matches 'lenet_digit': did you mean 'lenet_digits'"):
        find_recipes("lenet_digit")


def test_recipes_of_another_folder(here):
    (here / "b.py").write_text(PLAIN)
    (here / "a.py").write_text(PLAIN)
    (here / "notes.txt").write_text("no recipe")
    found = find_recipes("*", here)
    assert list(found) == ["a", "b"]
    assert found["a"].config.seed == 7
    assert found["a"].summary == "Plain."


def test_a_name_is_a_name_whatever_the_folder_holds(here):
    (here / "lenet_digits.py").write_text(PLAIN)
    write_run(here / "lenet_digits", TrainConfig(name="mine"))
    assert load_config("lenet_digits").name == "lenet_digits"
    assert load_config("./lenet_digits").name == "mine"
    assert load_config("lenet_digits/").name == "mine"
    assert load_config(Path("lenet_digits")).name == "mine"
    assert load_config("lenet_digits.py").name == "plain"


def test_a_path_is_never_looked_up_as_a_name(here):
    for path in ("./lenet_digits", "configs/lenet_digits", str(here / "lenet_digits"), Path("lenet_digits")):
        with pytest.raises(UserError) as refused:
            load_config(path)
        assert str(refused.value) == (
            f"there is no recipe or run folder {path}: give the path of a recipe or of a run folder, or a name that "
            "`jaxcnn recipes` lists"
        )


@pytest.mark.parametrize(
    ("name", "clause"),
    [
        ("resnet50_imagnet", "did you mean 'resnet50_imagenet' or "),
        ("lenet_digits.py", "did you mean 'lenet_digits' or "),
        ("perceptron", "choose from 'alexnet_2012_imagenet', 'alexnet_imagenet', "),
    ],
)
def test_a_name_that_is_none_brings_the_nearest(name, clause, here):
    with pytest.raises(UserError) as refused:
        load_config(name)
    assert str(refused.value).startswith(f"there is no recipe or run folder {name}: {clause}")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "r.py is not a recipe: it must set config = TrainConfig(...)"),
        (b"config = 3", "r.py is not a recipe: it must set config = TrainConfig(...)"),
        (
            b"from jaxcnn.config import DataConfig\nDataConfig(batch_sise=3)",
            "r.py: batch_sise is not an option: did you",
        ),
        (b"\xff", "r.py cannot be read: it is not text in UTF-8"),
    ],
)
def test_files_that_are_no_recipes(content, sentence, here):
    (here / "r.py").write_bytes(content)
    for _ in range(2):  # what has failed is executed again, and not half remembered
        with pytest.raises(UserError) as refused:
            load_config("r.py")
        assert str(refused.value).startswith(sentence)


def test_an_error_in_a_recipe_is_its_own(here):
    (here / "r.py").write_text("undefined")
    for _ in range(2):
        with pytest.raises(NameError):
            load_config("r.py")


def test_a_folder_that_is_no_run(here):
    with pytest.raises(UserError, match=r"is not a run folder: it has no config.json"):
        load_config(here)


def test_a_folder_called_like_a_recipe_or_weights_is_in_nobodys_way(here):
    for name in ("lenet_digits", "lite0"):
        (here / name).mkdir()
    assert load_recipe("lenet_digits").run is None
    assert run_folder("lite0") is None
    assert run_folder("./lite0") == Path("lite0")  # which is said to hold no run
    (here / "lite0" / "config.json").write_text(to_json(TrainConfig()))
    assert run_folder("lite0") == Path("lite0")


def test_a_run_folder_and_its_config_file(here):
    config = TrainConfig(name="ours", seed=3)
    run = write_run(here / "run", config)
    for named, folder in (("run", Path("run")), (run, run), ("run/config.json", Path("run"))):
        recipe = load_recipe(named)
        assert (recipe.name, recipe.config, recipe.source, recipe.run) == ("ours", config, None, folder)
        assert recipe.summary == ""
    (run / "config.json").write_text('{"seeed": 3}')
    with pytest.raises(ConfigError, match=r"^run/config.json: seeed is not an option: did you mean 'seed'\?"):
        load_config("run")


def test_a_recipe_may_start_from_another(here):
    (here / "more.py").write_text(
        "import dataclasses\n"
        "from jaxcnn.recipes import load_config\n"
        "config = dataclasses.replace(load_config('lenet_digits'), seed=5)\n"
    )
    assert load_config("more.py") == dataclasses.replace(load_config("lenet_digits"), seed=5)


def test_a_recipe_is_executed_once_wherever_it_is_read_from(here):
    source = f"{BRINGING}# executed once\n"
    (here / "first.py").write_text(source)
    (here / "copy.py").write_text(source)
    first = load_recipe("first.py")
    run = write_run(here / "run", first.config, source)
    for again in ("first.py", "copy.py", "run", run / "config.json"):
        assert load_recipe(again).source == source
        assert load_config(again) == first.config
    assert (here / "executions.txt").read_text() == "once\n"
    (here / "changed.py").write_text(f"{source}# changed\n")
    load_recipe("changed.py")
    assert (here / "executions.txt").read_text() == "once\nonce\n"


def test_a_recipe_is_a_module_where_its_classes_are_found(here):
    (here / "r.py").write_text(f"{BRINGING}kept = Network\n# a module\n")
    load_recipe("r.py")
    (module,) = (m for m in list(sys.modules.values()) if getattr(m, "kept", None) is not None and m.__file__ == "r.py")
    assert sys.modules[module.kept.__module__] is module


def test_a_run_folder_executes_its_recipe_and_reads_its_config(here):
    source = f"{BRINGING}# kept in the run\nkept_in = 'run'\n"
    config = TrainConfig(name="r", seed=9)  # with an option changed on the command line
    recipe = load_recipe(write_run(here / "run", config, source))
    assert (here / "executions.txt").read_text() == "once\n"
    assert (recipe.config, recipe.source) == (config, source)
    (here / "run" / "recipe.py").write_text("from jaxcnn.config import DataConfig\nDataConfig(batch_size=-1)\n")
    with pytest.raises(ConfigError, match=r"^run/recipe.py: batch_size must be greater than 0, not -1"):
        load_recipe("run")


def test_the_tests_own_recipe():
    recipe = load_recipe(TINY)
    assert recipe.summary.startswith("Seconds of training")
    assert recipe.config.model.name in list_models()
