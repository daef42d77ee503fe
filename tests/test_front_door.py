"""What `import jaxcnn` gives, and what one does with it."""

import dataclasses
import importlib.metadata
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rich.console
from PIL import Image

import jaxcnn
from jaxcnn.config import SGD, DataConfig, Resize, ScheduleConfig
from jaxcnn.errors import UserError
from jaxcnn.recipes import load_config

TINY = Path(__file__).parent / "recipes" / "tiny.py"
QUIET = rich.console.Console(quiet=True)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of a fraction of an epoch."""
    folder = tmp_path_factory.mktemp("run") / "tiny"
    config = dataclasses.replace(load_config(TINY), epochs=0.6)
    return folder, jaxcnn.train(config, folder, console=QUIET)


def test_everything_public_is_there_and_nothing_else_is_imported():
    assert jaxcnn.__version__ == importlib.metadata.version("jaxcnn")
    assert set(jaxcnn.__all__) <= set(dir(jaxcnn))
    for name in jaxcnn.__all__:
        assert getattr(jaxcnn, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'loda'"):
        jaxcnn.loda  # noqa: B018
    code = "import sys, jaxcnn; print('jax' in sys.modules, 'flax' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert answer.stdout == "False False\n"


def test_a_loaded_run_shows_what_it_is_and_evaluates(run):
    folder, result = run
    network = jaxcnn.load(folder)
    assert network.class_names == tuple("0123456789")
    assert network.preprocessing == (Resize(size=8), 1, load_config(TINY).normalization)
    logits = network.model.apply(network.variables, jnp.zeros((1, 8, 8, 1)), train=False)
    assert logits.shape == (1, 10)
    again = network.evaluate()
    assert (again.images, again.errors) == (result.images, result.errors)
    assert again.loss == pytest.approx(result.loss, rel=1e-5)
    assert network.evaluate("digits").errors == result.errors
    assert network.evaluate(DataConfig(channels=1, evaluation_crop=Resize(size=8)), top_k=(3,)).errors.keys() == {3}


def test_files_arrays_and_pillow_images_are_predicted_alike(run, tmp_path):
    network = jaxcnn.load(run[0])
    pixels = np.random.default_rng(0).integers(0, 256, (9, 12), np.uint8)
    picture = Image.fromarray(pixels)
    picture.save(tmp_path / "a.png")
    images = [tmp_path / "a.png", str(tmp_path / "a.png"), pixels, pixels[..., None], picture]
    first, *others = network.predict(images, top_k=3)
    assert others == [first] * 4
    assert [len(first), first[0][1] >= first[1][1] >= first[2][1] > 0] == [3, True]
    colour = np.repeat(pixels[..., None], 3, axis=-1)
    (((name, probability), *_),) = network.predict([colour], top_k=3)  # grey in colours is grey again
    assert (name, probability) == (first[0][0], pytest.approx(first[0][1], rel=1e-3))
    for wrong in (pixels.astype(np.float32), pixels[0], np.zeros((4, 4, 2), np.uint8)):
        with pytest.raises(UserError, match=r"^image 1 is an array of .* give uint8 of shape \(height, width\) or"):
            network.predict([pixels, wrong])
    with pytest.raises(UserError, match="there are no images: give at least one file, array or Pillow image"):
        network.predict([])


def test_a_run_starts_from_the_weights_of_another(run, tmp_path):
    folder, _ = run
    base = dataclasses.replace(load_config(TINY), init_from=str(folder), epochs=0.05)
    constant = ScheduleConfig(kind="constant")
    frozen = SGD(learning_rate=1e-30, weight_decay=0.0, momentum=0.0, schedule=constant)
    jaxcnn.train(dataclasses.replace(base, optimizer=frozen), tmp_path / "same", console=QUIET)
    found, expected = jaxcnn.load(tmp_path / "same").variables, jaxcnn.load(folder).variables
    jax.tree.map(np.testing.assert_array_equal, found["params"], expected["params"])
    # A head for other classes starts anew, everything else is taken.
    other = dataclasses.replace(base.model, num_classes=12)
    jaxcnn.train(dataclasses.replace(base, optimizer=frozen, model=other), tmp_path / "more", console=QUIET)
    found = jaxcnn.load(tmp_path / "more").variables["params"]
    assert found["classifier"]["dense"]["kernel"].shape[-1] == 12
    rest = {name: leaf for name, leaf in found.items() if name != "classifier"}
    jax.tree.map(np.testing.assert_array_equal, rest, {name: expected["params"][name] for name in rest})
    with pytest.raises(UserError, match=r"there is no file nowhere\.pth"):
        jaxcnn.train(
            dataclasses.replace(base, optimizer=frozen, init_from="nowhere.pth"), tmp_path / "no", console=QUIET
        )
    assert not (tmp_path / "no").exists()


def test_some_steps_are_traced(tmp_path):
    config = dataclasses.replace(load_config(TINY), epochs=0.6)
    jaxcnn.train(config, tmp_path / "run", console=QUIET, profile_steps=2)
    assert list((tmp_path / "run" / "profile").rglob("*.xplane.pb"))
    assert list((tmp_path / "run" / "profile").rglob("perfetto_trace.json.gz"))
    with pytest.raises(UserError, match="--profile 0 traces nothing: give the number of steps to trace, at least 1"):
        jaxcnn.train(config, tmp_path / "other", console=QUIET, profile_steps=0)
    assert not (tmp_path / "other").exists()
