"""A recipe imports the modules beside it, and a run folder keeps them."""

import sys
from pathlib import Path

import pytest

from jaxcnn.config import TrainConfig, to_json
from jaxcnn.errors import UserError
from jaxcnn.neighbours import neighbours
from jaxcnn.recipes import load_config, load_recipe

RECIPE = "from {module} import SEED\nfrom jaxcnn.config import TrainConfig\nconfig = TrainConfig(name='r', seed=SEED)\n"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """An empty working directory; what is imported there is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # which files of one size and time would share
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def write(folder, **modules):
    """Writes files by their names without ``.py``, in which ``__`` stands for a slash and ``init`` for ``__init__``."""
    for name, text in modules.items():
        file = folder / f"{name.replace('__', '/').replace('/init', '/__init__')}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder


def test_a_recipe_imports_its_neighbour_from_wherever_it_is_started(here):
    write(here / "mine", recipe=RECIPE.format(module="beside_1"), beside_1="SEED = 11\n")
    recipe = load_recipe(here / "mine" / "recipe.py")
    assert recipe.config.seed == 11
    assert recipe.modules == {"beside_1.py": "SEED = 11\n"}
    assert load_recipe("mine/recipe.py").config is recipe.config  # executed once


def test_neighbours_of_neighbours_and_packages(here):
    write(
        here,
        recipe=RECIPE.format(module="package_2.deep.most"),
        package_2__init="from . import side\n",
        package_2__side="",
        package_2__unused="",
        package_2__deep__most="from ..other import x\nfrom beside_2 import SEED\n",
        package_2__other="x = 1\n",
        beside_2="SEED = 12\n\ndef later():\n    import lazy_2\n    return lazy_2.x\n",
        lazy_2="import os, numpy, absent_2\nx = 2\n",
        os="raise AssertionError\n",
        jaxcnn="raise AssertionError\n",
    )
    recipe = load_recipe("./recipe.py")
    assert recipe.config.seed == 12
    assert list(recipe.modules) == [
        "beside_2.py",
        "lazy_2.py",
        "package_2/__init__.py",
        "package_2/deep/most.py",
        "package_2/other.py",
        "package_2/side.py",
    ]


def test_a_function_imports_its_neighbour_when_it_is_called(here):
    write(
        here,
        recipe=RECIPE.format(module="beside_3"),
        beside_3="SEED = 1\n\ndef later():\n    import lazy_3\n    return lazy_3.x\n",
        lazy_3="x = 3\n",
    )
    load_recipe("./recipe.py")
    assert sys.modules["beside_3"].later() == 3


def test_each_recipe_gets_its_own_neighbour(here):
    """Two have the same text, and their neighbours the same name."""
    for number in (1, 2):
        write(here / f"r{number}", recipe=RECIPE.format(module="beside_4"), beside_4=f"SEED = {number}\n")
    assert [load_config(here / f"r{number}" / "recipe.py").seed for number in (1, 2, 1, 2)] == [1, 2, 1, 2]


def test_a_run_folder_finds_what_it_keeps_and_says_what_it_does_not(here):
    source = f"{RECIPE.format(module='beside_5')}own = 5\n"
    run = write(here / "run", recipe=source, recipe_modules__beside_5="SEED = 15\n")
    (run / "config.json").write_text(to_json(TrainConfig(name="r", seed=9)))
    recipe = load_recipe("run")
    assert (recipe.config.seed, recipe.source, recipe.modules) == (9, source, {"beside_5.py": "SEED = 15\n"})
    assert Path(sys.modules["beside_5"].__file__) == run / "recipe_modules" / "beside_5.py"

    write(run, recipe=f"{RECIPE.format(module='gone_5')}own = 6\n")
    with pytest.raises(UserError) as refused:
        load_recipe("run")
    assert str(refused.value) == (
        "run/recipe.py imports 'gone_5', which neither the run folder keeps nor this Python has: install it, or put it "
        "into run/recipe_modules"
    )


def test_a_recipe_of_the_same_code_is_not_executed_again_for_its_run_folder(here):
    source, module = RECIPE.format(module="beside_6"), "SEED = 16\nprint('once')\n"
    write(here, recipe=source, beside_6=module)
    first = sys.modules.copy()
    load_recipe("./recipe.py")
    run = write(here / "run", recipe=f"# A comment.\n{source}", recipe_modules__beside_6=module)
    (run / "config.json").write_text(to_json(TrainConfig(name="r")))
    after = set(sys.modules)
    load_recipe("run")
    assert set(sys.modules) == after
    assert after - set(first) >= {"beside_6"}


def test_what_is_no_module(here):
    write(here, data__x="", broken="def")
    assert neighbours("import data, numpy, nothing\nfrom . import x\nfrom .. import y\n", here) == {}
    assert neighbours("import broken", here) == {"broken.py": "def"}
    assert neighbours("def", here) == {}
    (here / "latin.py").write_bytes(b"# \xf6\n")
    with pytest.raises(UserError, match=r"latin.py cannot be read: "):
        neighbours("import latin", here)
