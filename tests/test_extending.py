"""One recipe outside the package brings a family, an augmentation, a source, an optimizer and a protocol."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

import jaxcnn
from jaxcnn import loading
from jaxcnn.cli.main import main
from jaxcnn.recipes import load_recipe
from jaxcnn.weights.published import published_errors

MINE = Path(__file__).parent / "recipes" / "mine.py"
BESIDE = MINE.with_name("ramp_classes.py")


def run_command(*arguments, folder, **options):
    """`jaxcnn ...` in a process that has never seen the recipe."""
    command = [sys.executable, "-m", "jaxcnn", *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(Path(jaxcnn.__file__).parents[1])}
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, timeout=300, **options)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished run of the recipe, which is gone from where it was."""
    folder = tmp_path_factory.mktemp("mine")
    shutil.copy(MINE, folder / "brought.py")
    shutil.copy(BESIDE, folder)
    answer = run_command("train", "brought.py", "--workdir", "run", "--no-report", folder=folder)
    assert answer.returncode == 0, answer.stderr
    (folder / "brought.py").unlink()
    (folder / BESIDE.name).unlink()
    return folder, answer.stdout


def test_it_trains_and_the_folder_keeps_the_recipe(trained):
    folder, output = trained
    assert (folder / "run" / "recipe.py").read_text() == MINE.read_text()
    assert (folder / "run" / "recipe_modules" / BESIDE.name).read_text() == BESIDE.read_text()
    stored = json.loads((folder / "run" / "config.json").read_text())
    assert stored["optimizer"]["kind"] == "sign_sgd"
    assert stored["augmentations"] == [{"levels": 4, "kind": "tilt"}]
    error = float(re.search(r"top-1 error ([\d.]+) %  \(60 images\)\n$", output)[1])
    assert error < 20


@pytest.mark.slow
def test_interrupted_and_resumed_it_ends_in_the_same_bits(trained, tmp_path):
    folder, _ = trained
    shutil.copy(MINE, tmp_path / "brought.py")
    shutil.copy(BESIDE, tmp_path)
    command = [sys.executable, "-m", "jaxcnn", "train", "brought.py", "--workdir", "run"]
    environment = os.environ | {"PYTHONPATH": str(Path(jaxcnn.__file__).parents[1]), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if re.search(r"step 20 ", line):  # what was saved after 12 is whole: saving after 18 waited for it
                process.send_signal(signal.SIGKILL)
                break
    (tmp_path / "brought.py").unlink()
    (tmp_path / BESIDE.name).unlink()
    answer = run_command("train", "run", folder=tmp_path)  # by what the folder keeps
    assert answer.returncode == 0, answer.stderr
    resumed = re.search(r"going on from step (\d+) of 48", answer.stdout)
    assert resumed, answer.stdout
    assert 12 <= int(resumed[1]) < 48
    load_recipe(folder / "run")
    found, expected = (loading.restore_state(each / "run") for each in (tmp_path, folder))
    assert found.metrics == expected.metrics
    jax.tree.map(np.testing.assert_array_equal, found.state, expected.state)


@pytest.mark.slow
def test_it_is_evaluated_with_its_own_protocol(trained, capsys):
    folder, _ = trained
    quarters = run_command("evaluate", "run", "--top-k", "1", "views:quarters", "--views.size", "12", folder=folder)
    assert quarters.returncode == 0, quarters.stderr
    assert quarters.stdout.endswith("\n60 images\n")
    # In this process: the quarters of an image, one at a time.
    with pytest.raises(SystemExit):
        main(["evaluate", str(folder / "run"), "views:quarters", "--help"])
    assert "--views.average" in capsys.readouterr().out
    from jaxcnn.data.views import PROTOCOLS

    network, views = jaxcnn.load(folder / "run"), PROTOCOLS.groups["quarters"](size=12)
    predictions = network.predictions(network.open_split(network.data, views), batch_size=16)
    assert f"top-1 error {predictions.result((1,)).errors[1]:.2f} %" in quarters.stdout


def test_it_predicts(trained, capsys):
    folder, _ = trained
    noise = np.random.default_rng(0).integers(-40, 41, (12, 12))
    ramp = (128 + np.linspace(-80, 80, 12)[:, None] + noise).astype(np.uint8)
    Image.fromarray(ramp).save(folder / "ramp.png")
    assert main(["predict", str(folder / "ramp.png"), "--model", str(folder / "run"), "--top-k", "3"]) == 0
    assert re.search(r"\bup\b", capsys.readouterr().out)
    ((best, *_),) = jaxcnn.load(folder / "run").predict([ramp], top_k=1)
    assert best[0] == "up"


def test_its_network_has_its_weight_rules_and_published_errors(trained):
    load_recipe(trained[0] / "run")
    assert jaxcnn.list_models("ramp*") == ["ramp_small"]
    state = {"body.weight": np.ones((4, 1, 3, 3)), "fc.weight": np.ones((3, 4))}
    variables = jaxcnn.load_pretrained("ramp_small", state | {"fc.bias": np.arange(3.0)})
    assert variables["params"]["conv"]["kernel"].shape == (3, 3, 1, 4)
    np.testing.assert_array_equal(variables["params"]["head"]["bias"], [0, 1, 2])
    assert [each.top1_error for each in published_errors("ramp_small")] == [12.5]


@pytest.mark.slow
def test_a_recipe_whose_code_changed_does_not_go_on_with_the_run(trained, tmp_path):
    folder, _ = trained
    shutil.copytree(folder / "run", tmp_path / "run")
    changed = MINE.read_text().replace("optax.sign_sgd(learning_rate)", "optax.sgd(learning_rate)")
    (tmp_path / "brought.py").write_text(changed)
    shutil.copy(BESIDE, tmp_path)
    answer = run_command("train", "brought.py", "--workdir", "run", folder=tmp_path)
    assert answer.returncode == 2
    assert "error: " in answer.stderr
    assert "go on with `jaxcnn train run`, which uses the code that the folder keeps" in answer.stderr
    (tmp_path / "brought.py").write_text(f"# A comment.\n{MINE.read_text()}")
    answer = run_command("train", "brought.py", "--workdir", "run", folder=tmp_path)
    assert answer.returncode == 0, answer.stderr
