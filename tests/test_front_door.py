"""What `import jaxcnn` gives, and what one does with it."""

import dataclasses
import importlib.metadata
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rich.console
from PIL import Image

import jaxcnn
from jaxcnn.cli.main import main
from jaxcnn.config import SGD, DataConfig, Resize, ScheduleConfig
from jaxcnn.errors import EXIT_USER_ERROR, UserError
from jaxcnn.recipes import load_config
from jaxcnn.trained import IMAGES_AT_ONCE
from jaxcnn.weights.save import save_variables

TINY = Path(__file__).parent / "recipes" / "tiny.py"
QUIET = rich.console.Console(quiet=True)


def test_weights_of_a_grey_network_come_with_grey_preprocessing(tmp_path):
    model = jaxcnn.create_model("lenet")
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 32, 32, 1)))
    variables = jax.tree.map(lambda leaf: np.full(leaf.shape, 0.01, np.float32), shapes)
    save_variables(variables, tmp_path / "lenet.safetensors", "safetensors")
    network = jaxcnn.load("lenet", str(tmp_path / "lenet.safetensors"))
    assert network.normalization.mean == pytest.approx((0.449,), abs=1e-3)
    assert len(network.predict([np.zeros((40, 40), np.uint8)], top_k=3)[0]) == 3


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of a fraction of an epoch."""
    folder = tmp_path_factory.mktemp("run") / "tiny"
    config = dataclasses.replace(load_config(TINY), epochs=0.6)
    return folder, jaxcnn.train(config, folder, console=QUIET)


def test_everything_public_is_there():
    assert jaxcnn.__version__ == importlib.metadata.version("jaxcnn")
    assert set(jaxcnn.__all__) <= set(dir(jaxcnn))
    for name in jaxcnn.__all__:
        assert getattr(jaxcnn, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'loda'"):
        jaxcnn.loda  # noqa: B018


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


def test_photographs_are_predicted_upright_as_they_come(run, tmp_path):
    network = jaxcnn.load(run[0])
    pixels = np.random.default_rng(0).integers(0, 256, (9, 12), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as opened:
        upright, again = network.predict([np.rot90(pixels, -1), opened])
        stored, as_stored = network.predict([pixels, opened], upright=False)
    assert network.predict([tmp_path / "turned.png"]) == [upright] == [again]
    assert network.predict([tmp_path / "turned.png"], upright=False) == [stored] == [as_stored]
    assert upright != stored
    # What cannot be read is said in its turn, across batches, and all else is answered.
    (tmp_path / "no.png").write_text("no")
    images = [pixels, tmp_path / "no.png", *[pixels] * (IMAGES_AT_ONCE + 1), tmp_path / "turned.png"]
    answers = list(network.predict_each(images))
    assert [index for index, answer in enumerate(answers) if isinstance(answer, UserError)] == [1]
    assert re.fullmatch(r".*no\.png is not an image", str(answers[1]))
    assert answers[0] == answers[2] == answers[-2]
    for answer, expected in ((answers[0], stored), (answers[-1], upright)):
        assert dict(answer) == pytest.approx(dict(expected))
    only = list(network.predict_each([tmp_path / "no.png", tmp_path / "gone.png"]))
    assert [type(answer) for answer in only] == [UserError, UserError]


def test_predict_names_what_it_can_and_says_what_it_cannot(run, tmp_path, capsys):
    Image.new("L", (9, 12)).save(tmp_path / "a.png")
    (tmp_path / "no.png").write_text("no")
    command = ["predict", str(tmp_path / "no.png"), str(tmp_path / "a.png"), "--model", str(run[0])]
    assert main(command) == EXIT_USER_ERROR
    captured = capsys.readouterr()
    assert captured.err.startswith(f"error: {tmp_path}/no.png is not an image")
    assert "probability" in captured.out
    assert main([*command[:1], *command[2:]]) == 0
    assert main(["predict", "--model", str(run[0])]) == EXIT_USER_ERROR
    assert "no image file is given: name at least one" in capsys.readouterr().err


@pytest.mark.slow
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
    with pytest.raises(UserError, match=r"there is no file .*nowhere\.pth"):
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
