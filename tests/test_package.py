"""What an installation holds: the built wheel carries the recipes and the command, and needs no checkout."""

import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from jaxcnn.recipes import SHIPPED

ROOT = Path(__file__).parents[1]
SOURCES = ("jaxcnn", "configs", "pyproject.toml", "setup.py", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The built wheel; building it needs setuptools, which pip fetches."""
    folder = tmp_path_factory.mktemp("package")
    (folder / "source").mkdir()
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / "source" / name)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", folder / "wheels", folder / "source"]
    built = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert built.returncode == 0, built.stderr
    (wheel,) = (folder / "wheels").glob("jaxcnn-*.whl")
    return wheel


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The wheel's files in a folder."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


@pytest.mark.slow
def test_the_wheel_carries_recipes_command_and_data(installed):
    recipes = {path.name: path.read_text() for path in (installed / "jaxcnn" / "configs").iterdir()}
    assert recipes == {path.name: path.read_text() for path in SHIPPED.glob("*.py")}
    (entry_points,) = installed.glob("jaxcnn-*.dist-info/entry_points.txt")
    assert "jaxcnn = jaxcnn.cli.main:main" in entry_points.read_text()
    modules = {path.relative_to(ROOT) for path in (ROOT / "jaxcnn").rglob("*.py")}
    assert modules <= {path.relative_to(installed) for path in (installed / "jaxcnn").rglob("*.py")}
    assert (installed / "jaxcnn" / "py.typed").is_file()
    assert {path.name for path in installed.iterdir() if path.suffix != ".dist-info"} == {"jaxcnn"}


@pytest.mark.slow
def test_recipes_are_found_by_name_from_an_empty_folder(installed, tmp_path):
    environment = os.environ | {"PYTHONPATH": str(installed)}
    command = [sys.executable, "-m", "jaxcnn", "recipes", "lenet_digits"]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=120)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("lenet_digits\n    lenet, digits, 40 epochs\n")
    code = "import jaxcnn.recipes; print(jaxcnn.recipes.SHIPPED)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert Path(ran.stdout.strip()) == installed / "jaxcnn" / "configs"


def clean():
    """The variables of the environment that point neither to a checkout nor to the tests' devices."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "XLA", "JAX"))}


@pytest.fixture(scope="module")
def command(wheel, tmp_path_factory):
    """The console command in an empty environment that holds the wheel, its extra and what they need."""
    environment = tmp_path_factory.mktemp("environment")
    venv.create(environment, with_pip=True)
    pip = [environment / "bin" / "python", "-m", "pip", "install", "-c", ROOT / "constraints.txt"]
    ran = subprocess.run([*pip, f"{wheel}[pretrained]"], capture_output=True, text=True, env=clean(), timeout=1200)
    assert ran.returncode == 0, ran.stderr
    return environment / "bin" / "jaxcnn"


@pytest.mark.slow
def test_nothing_but_the_wheel_trains_evaluates_and_predicts_from_an_empty_folder(command, tmp_path):
    def jaxcnn(*arguments):
        line = [command, *map(str, arguments)]
        ran = subprocess.run(line, capture_output=True, text=True, cwd=tmp_path, env=clean(), timeout=600)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    assert re.search(r"\ntop-1 error \d\.\d\d %  top-5 error 0\.\d\d %  \(360 images\)\n$", jaxcnn("train"))
    short = jaxcnn("train", "lenet_digits", "--epochs", "2", "--workdir", "x")
    error = re.search(r"\n(top-1 error [\d.]+ %)  .*\n$", short)[1]
    assert jaxcnn("evaluate", "x").startswith(error)
    photo = ROOT / "tests" / "photos" / "coffee.jpg"
    assert "espresso" in jaxcnn("predict", photo, "--model", "efficientnet_lite0", "--weights", "lite0")
    # A smaller batch than the recipe's 256, which would not fit into every machine that runs the tests.
    dry = jaxcnn("train", "resnet50_imagenet", "--dry-run", "--data.batch-size", "8")
    assert "resnet50_imagenet: resnet50, 25,557,032 parameters" in dry
    assert {path.name for path in tmp_path.iterdir()} == {"runs", "x"}
    assert jaxcnn("--version").startswith("jaxcnn ")
