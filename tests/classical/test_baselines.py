"""Baselines from images to errors: what they keep, how they go on, and what they refuse."""

import dataclasses
import json
import logging
import signal

import jax
import numpy as np
import pytest
import rich.console
import safetensors.numpy

from jaxcnn.classical.baselines import run
from jaxcnn.classical.encodings import LAYER, encode_split, encoded_as_zeros
from jaxcnn.classical.methods import method_of
from jaxcnn.classical.sift import Grid
from jaxcnn.cli.main import main
from jaxcnn.config import ConfigError, RandomResizedCrop
from jaxcnn.config.features import ProbeConfig
from jaxcnn.data.opening import open_measured
from jaxcnn.devices.parallel import DataParallel
from jaxcnn.errors import UserError
from jaxcnn.features.store import Features
from tests.classical.small import CLASSES, FLAT, contents, options, with_data, write_gratings

pytest.importorskip("cv2")
KINDS = ("sift-fisher", "sparse-coding")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gratings")
    write_gratings(folder)
    return folder


@pytest.fixture(scope="module")
def undisturbed(images, tmp_path_factory):
    """For each kind, the folder of a run, and what it printed."""
    found = {}
    for kind in KINDS:
        workdir = tmp_path_factory.mktemp("undisturbed") / kind
        console = rich.console.Console(record=True, width=1000, quiet=False, file=open("/dev/null", "w"))  # noqa: SIM115
        result = run(options(kind, images), workdir, console=console)
        console.file.close()
        found[kind] = workdir, result, console.export_text()
    return found


class Stopping(rich.console.Console):
    """A console that asks its process to stop when a line begins with a text."""

    def __init__(self, beginning):
        super().__init__(quiet=True)
        self._beginning = beginning

    def print(self, text, **_):
        if text.startswith(self._beginning):
            signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize("kind", KINDS)
def test_gratings_are_told_apart_and_everything_is_kept(kind, undisturbed, images):
    workdir, result, printed = undisturbed[kind]
    assert result.images == 3 * 5 + 1
    assert result.errors[1] <= 100 * 3 / 16  # the flat one and the one of the rare class may be wrong
    stored = json.loads((workdir / "result.json").read_text())
    assert (stored["kind"], stored["top1_error"]) == (kind, result.errors[1])
    assert [each["class"] for each in stored["classes"]] == sorted([*CLASSES, "rare"])
    assert stored["without_descriptors"] == {
        "training": {"count": 1, "images": [f"train/{FLAT['train']}"]},
        "evaluation": {"count": 1, "images": [f"test/{FLAT['test']}"]},
    }
    assert f"1 of 25 images of folder:{images}, split 'train' are encoded as zeros, because no patch in them" in printed
    with np.load(workdir / "details.npz") as details:
        assert details["confusion"].sum() == 16
    training = Features(workdir / "training.safetensors", "training")
    assert training.names()[0] == "train/across/00.png"
    lengths = np.linalg.norm(training.values(LAYER), axis=1)
    zeros = encoded_as_zeros(training)
    assert training.names()[zeros[0]] == f"train/{FLAT['train']}"
    np.testing.assert_allclose(np.delete(lengths, zeros), 1, rtol=1e-5)
    sample = safetensors.numpy.load_file(workdir / "sample" / "000000.safetensors")
    assert sample["descriptors"].any(1).all()  # none is of a flat patch


@pytest.mark.parametrize("kind", [KINDS[0], pytest.param(KINDS[1], marks=pytest.mark.slow)])
def test_stopped_in_each_part_it_goes_on_to_the_same_bits(kind, undisturbed, images, tmp_path):
    expected, result, _ = undisturbed[kind]
    config = options(kind, images)
    for beginning in ("drawing", "fitting on", "encoding 25", "encoding 16", "fitting the classifier"):
        assert run(config, tmp_path / "work", console=Stopping(beginning)) is None
        assert not (tmp_path / "work" / "result.json").exists()
    assert run(config, tmp_path / "work") == result
    assert contents(tmp_path / "work") == contents(expected)


def test_the_command_goes_on_and_prints_the_result(undisturbed, images, capsys):
    workdir, result, _ = undisturbed["sift-fisher"]
    data = ["--data.name", f"folder:{images}", "--data.batch-size", "8", "--data.evaluation-crop.size", "24"]
    sift = ["--sift.step", "5", "--sift.bins", "2", "3", "--sample", "300", "--pyramid", "1", "1", "2", "1"]
    own = ["--pca", "8", "--components", "4", "--max-steps", "30", "--tolerance", "1e-5"]
    probe = ["--probe.regularization", "1", "10", "--probe.folds", "2", "--top-k", "1", "--workdir", str(workdir)]
    assert main(["baseline", "sift-fisher", *data, *sift, *own, *probe]) == 0
    assert capsys.readouterr().out.startswith(f"top-1 error {result.errors[1]:.2f} % (95 % interval by Wilson's score:")
    assert main(["baseline", "sift-fisher", *data, *sift, *own, *probe, "--coordinates"]) == 2
    assert "in which coordinates is False and not True: choose another --workdir" in capsys.readouterr().err
    assert main(["baseline", "sift-fisher", *probe, "--sift.no-square-root", "--data.evaluation-crop.kind", "pad"]) == 2
    assert "digits" in capsys.readouterr().err


def test_what_is_done_is_not_done_again(undisturbed, images):
    workdir, result, _ = undisturbed["sift-fisher"]
    before = {path: path.stat().st_mtime_ns for path in workdir.rglob("*") if path.is_file()}
    assert run(with_data(options("sift-fisher", images), workers=0, max_bad_share=0.5), workdir) == result
    assert {path: path.stat().st_mtime_ns for path in workdir.rglob("*") if path.is_file()} == before
    more = run(dataclasses.replace(options("sift-fisher", images), top_k=(1, 2)), workdir)
    assert set(more.errors) == {1, 2}
    assert run(options("sift-fisher", images), workdir) == result


@pytest.mark.parametrize("kind", KINDS)
def test_encodings_are_the_same_bytes_on_one_device_and_on_eight(kind, undisturbed, images, tmp_path):
    workdir, _, _ = undisturbed[kind]
    config = options(kind, images)
    method, grid = method_of(config), Grid(config.sift, 24)
    fitted = method.used(safetensors.numpy.load_file(workdir / "fitted.safetensors"))
    split = open_measured(with_data(config, residence="stream").data).evaluation
    for count, batch in ((1, 3), (2, 16)):
        folder = tmp_path / str(count)
        folder.mkdir()
        parallel = DataParallel.over(jax.devices()[:count])
        encode_split(
            split, "evaluation", method.encoder(grid.positions), fitted, grid, parallel, batch, folder, {}, bool
        )
        found, expected = (safetensors.numpy.load_file(path / "evaluation.safetensors") for path in (folder, workdir))
        assert found.keys() == expected.keys()
        assert all(np.array_equal(found[name], expected[name]) for name in found)


def test_coordinates_and_plain_normalization_are_other_encodings(undisturbed, images, tmp_path):
    config = options("sift-fisher", images)
    config = dataclasses.replace(
        config, coordinates=True, pyramid=((1, 1),), sift=dataclasses.replace(config.sift, square_root=False)
    )
    assert run(config, tmp_path / "work").images == 16
    features = Features(tmp_path / "work" / "training.safetensors", "training")
    assert features.layers == {LAYER: (2 * 4 * (8 + 2),)}


def test_images_that_cannot_be_read_do_not_count_and_a_class_of_one_image_is_named(images, tmp_path, caplog):
    copy = tmp_path / "images"
    write_gratings(copy)
    for split in ("train", "test"):
        (copy / split / "slanted" / "01.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    config = with_data(options("sift-fisher", copy), max_bad_share=0.2)
    with caplog.at_level(logging.INFO, "jaxcnn"):
        assert run(config, tmp_path / "work").images == 15
    assert "1 class has one image, so cross-validation always fits it and never tests it: 'rare'" in caplog.text
    features = Features(tmp_path / "work" / "training.safetensors", "training")
    assert (len(features), features.known.sum()) == (25, 24)
    with pytest.raises(UserError, match=r"1 of 25 images of folder:.* cannot be read \(4.00%; max_bad_share allows 1"):
        run(options("sift-fisher", copy), tmp_path / "strict")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"components": 4000},
            r"^the sample holds \d+ descriptors, fewer than the 4000 components of the mixture",
        ),
        ({"pca": 129}, r"^the sample holds \d+ descriptors of 128 numbers, which do not have 129 principal components"),
        ({"probe": ProbeConfig(kind="knn", neighbours=(30,))}, "^neighbours 30 cannot be taken of 25 images"),
        ({"top_k": (4,)}, "^the top-4 error of 4 classes is always 0: ask for k = 1"),
    ],
)
def test_what_the_sample_and_the_classes_do_not_allow(changes, sentence, images, tmp_path):
    config = dataclasses.replace(options("sift-fisher", images), **changes)
    with pytest.raises(UserError, match=sentence):
        run(config, tmp_path / "work")


def test_a_dictionary_of_more_atoms_than_descriptors(images, tmp_path):
    config = dataclasses.replace(options("sparse-coding", images), atoms=4000)
    with pytest.raises(UserError, match=r"^the sample holds \d+ descriptors, fewer than the 4000 atoms of the dict"):
        run(config, tmp_path / "work")


def test_what_the_data_does_not_allow(images, tmp_path):
    config = options("sift-fisher", images)
    for changes, sentence in (
        ({"channels": 3}, "^data.channels is 3, and SIFT describes grey images: set it to 1"),
        ({"evaluation_crop": RandomResizedCrop(size=24)}, "^evaluation_crop is random"),
        ({"batch_size": 7}, "^data.batch_size 7 cannot be split over 8 devices: use 8"),
    ):
        with pytest.raises(UserError, match=sentence):
            run(with_data(config, **changes), tmp_path / "work")
    assert not (tmp_path / "work").exists()


def test_a_folder_keeps_to_its_work(undisturbed, images):
    workdir, _, _ = undisturbed["sparse-coding"]
    with pytest.raises(UserError, match=r"holds the baseline sparse-coding and not sift-fisher: choose another --work"):
        run(options("sift-fisher", images), workdir)
    other = dataclasses.replace(options("sparse-coding", images), penalty=0.3)
    with pytest.raises(ConfigError, match=r"holds a baseline of another config, in which penalty is 0.15 and not 0.3"):
        run(other, workdir)
