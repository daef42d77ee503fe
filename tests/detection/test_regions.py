"""Features of regions are the same bytes however they come about, and are what the network says of each crop."""

import dataclasses
import functools
import json
import logging
import os
import re
import signal

import jax
import numpy as np
import pytest

import jaxcnn
from jaxcnn.augment.compose import normalize
from jaxcnn.config import Normalization
from jaxcnn.detection.annotations import Objects
from jaxcnn.detection.regions import Regions, extract_regions
from jaxcnn.detection.warp import canvases, outside, warped
from jaxcnn.devices.parallel import DataParallel
from jaxcnn.errors import UserError
from jaxcnn.evaluation.evaluator import Interrupted
from jaxcnn.features.store import Writer
from jaxcnn.training.interrupt import StopRequest
from jaxcnn.training.lock import FolderLock
from tests.detection.made import picture, split_of
from tests.devices.evaluation_job import CLASSES, network

RNG = np.random.RandomState(0)
PICTURES = [picture(0), picture(1, (20, 30)), picture(2), picture(3, (50, 24))]


def drawn(count, image):
    corners = RNG.uniform(-5, 40, (count, 2))
    return np.concatenate([corners, corners + RNG.uniform(1, 30, (count, 2))], axis=1).astype(np.float32)


# The third image has no regions, and the last ones of the first are degenerate and outside.
BOXES = [
    np.concatenate([drawn(21, 0), [[3, 4, 3, 20], [5, 5, 5, 5], [-30, -30, -20, -10]]]).astype(np.float32),
    drawn(3, 1),
    np.zeros((0, 4), np.float32),
    drawn(8, 3),
]
SPLIT = split_of(PICTURES)


@pytest.fixture(autouse=True)
def _counted_after_each_batch(monkeypatch):
    monkeypatch.setattr("jaxcnn.features.streaming.COMMIT_SECONDS", 0.0)


def over(monkeypatch, count):
    some = DataParallel.over(jax.devices()[:count])
    monkeypatch.setattr(DataParallel, "over_all_devices", lambda: some)


@functools.cache
def prepared():
    return network(0)


def run(folder, split=SPLIT, boxes=BOXES, trained=None, **options):
    options = {"layer": "conv|dense:input", "pooling": "none", "context": 2, "regions_at_once": 4, **options}
    return extract_regions(trained or prepared(), split, boxes, folder, "train", **options)


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The features that one device extracts undisturbed."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        over(patch, 1)
        run(folder)
    return folder


def test_features_are_what_the_network_says_of_each_region(whole):
    found, trained = run(whole), prepared()
    assert len(found) == 35
    assert found.layers == {"conv": (4, 4, 8), "dense:input": (8,), "box": (4,)}
    assert found.layer_names == ("conv", "dense:input")
    assert [found.rows_of(index) for index in range(4)] == [slice(0, 24), slice(24, 27), slice(27, 27), slice(27, 35)]
    dense = trained.variables["params"]["dense"]

    @jax.jit
    def said(pictures, boxes):
        which, fill = np.zeros(32, np.int32), outside(trained.normalization, 3)
        regions = warped(pictures, which, boxes, size=10, context=2, fill=fill)
        return trained.model.apply(trained.variables, normalize(regions, trained.normalization), train=False)

    for index, boxes in enumerate(BOXES):
        rows = found.rows_of(index)
        np.testing.assert_array_equal(found.boxes(rows), boxes)
        np.testing.assert_array_equal(found.labels[rows], index)
        padded = np.concatenate([boxes, np.zeros((32 - len(boxes), 4), np.float32)])
        logits = said(canvases([PICTURES[index]], (64, 64)), padded)[: len(boxes)]
        ours = found.values("dense:input", rows) @ np.asarray(dense["kernel"]) + np.asarray(dense["bias"])
        np.testing.assert_allclose(ours, logits, rtol=1e-4, atol=1e-4)
        maps = found.values("conv", rows)
        assert maps.shape == (len(boxes), 128)
        np.testing.assert_array_equal(found.mapped("conv")[rows], maps)
    np.testing.assert_array_equal(found.mapped("dense:input")[[3, 30]], found.values("dense:input")[[3, 30]])


def test_the_index_names_the_images_and_a_single_layer_needs_no_name(whole, tmp_path, monkeypatch):
    over(monkeypatch, 1)
    (path,) = whole.glob("*.safetensors")
    assert re.fullmatch(r"train-[0-9a-f]{16}\.safetensors", path.name)
    told = json.loads((whole / f"{path.name}.json").read_text())
    assert told["images"][1] == {"name": "001", "image_id": 2, "regions": 3}
    with pytest.raises(UserError, match="holds the layers conv, dense:input: name one"):
        run(whole).values()
    found = run(tmp_path, layer=None)
    np.testing.assert_allclose(found.values(rows=slice(5, 9)), run(whole).values("dense:input")[5:9], rtol=1e-5)
    assert found.mapped().shape == (35, 8)


def test_eight_devices_write_the_bytes_of_one(whole, tmp_path, monkeypatch):
    over(monkeypatch, 8)
    run(tmp_path)
    assert contents(tmp_path) == contents(whole)


def test_an_extraction_that_is_stopped_or_dies_goes_on_with_other_devices_and_ends_in_the_same_bytes(
    whole, tmp_path, monkeypatch, caplog
):
    write, written = Writer.write, []

    def interrupted(self, first, rows):
        written.append(first)
        if len(written) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        if len(written) == 6:
            raise RuntimeError("as if killed")
        write(self, first, rows)

    monkeypatch.setattr(Writer, "write", interrupted)
    over(monkeypatch, 1)
    with StopRequest() as stop, pytest.raises(Interrupted):
        run(tmp_path, stop=stop)
    assert not list(tmp_path.glob("*.safetensors"))
    with pytest.raises(RuntimeError, match="as if killed"):
        run(tmp_path)
    over(monkeypatch, 8)
    with caplog.at_level(logging.INFO, "jaxcnn"):
        run(tmp_path)
    assert re.search(r"going on from region \d+ of 35", caplog.text)
    assert min(written[-1:]) > 0
    assert contents(tmp_path) == contents(whole)


def test_a_second_run_computes_nothing_and_reads_no_image(whole, tmp_path, monkeypatch):
    def read():
        raise AssertionError("an image is read")

    def write(*arguments):
        raise AssertionError("a row is written")

    before = contents(whole)
    blind = dataclasses.replace(SPLIT, images=[dataclasses.replace(image, read=read) for image in SPLIT.images])
    monkeypatch.setattr(Writer, "write", write)
    found = run(whole, blind)
    assert len(found) == 35
    assert contents(whole) == before


def test_whatever_bits_depend_on_makes_another_file(tmp_path):
    split, nothing = split_of(PICTURES[:1]), [np.zeros((0, 4), np.float32)]
    trained = prepared()
    doubled = dataclasses.replace(trained, variables=jax.tree.map(lambda leaf: 2 * leaf, trained.variables))
    other_mean = dataclasses.replace(trained, normalization=Normalization(mean=(0.5,), std=(0.5,)))
    other_images = split_of(PICTURES[:1], [Objects.of([[1, 2, 3, 4]], [0])])
    for number, (given, options) in enumerate(
        (
            ((split, nothing, trained), {}),
            ((split, nothing, doubled), {}),
            ((split, nothing, other_mean), {}),
            ((split, BOXES[:1], trained), {}),
            ((split, [BOXES[0][::-1]], trained), {}),
            ((other_images, nothing, trained), {}),
            ((split, nothing, trained), {"context": 1}),
            ((split, nothing, trained), {"layer": "dense:input"}),
            ((split, nothing, trained), {"pooling": "max"}),
            ((split, nothing, trained), {"size": 12}),
            ((split, nothing, trained), {"regions_at_once": 8}),
        ),
        1,
    ):
        run(tmp_path, *given, **options)
        assert len(list(tmp_path.glob("*.safetensors"))) == number, options
    run(tmp_path, split, nothing, trained)
    assert len(list(tmp_path.glob("*.safetensors"))) == number


def test_splits_without_regions_or_images_have_empty_features(tmp_path):
    found = run(tmp_path, split_of(PICTURES[:2]), [np.zeros((0, 4), np.float32)] * 2)
    assert len(found) == 0
    assert found.values("dense:input").shape == (0, 8)
    assert found.mapped("conv").shape == (0, 128)
    assert found.rows_of(1) == slice(0, 0)
    assert len(run(tmp_path, split_of([]), [])) == 0


def test_grey_networks_take_grey_regions(tmp_path, monkeypatch):
    over(monkeypatch, 1)
    trained = prepared()
    variables = trained.model.init(jax.random.key(0), np.zeros((1, 10, 10, 1), np.float32), train=False)
    grey = dataclasses.replace(
        trained,
        variables=variables,
        data=dataclasses.replace(trained.data, channels=1),
        normalization=Normalization(mean=(0.13,), std=(0.31,)),
    )
    found = run(tmp_path, split_of(PICTURES[:1]), BOXES[:1], grey, layer="dense:input")
    assert len(found) == 24
    assert found.values()[:-1].any(1).all()


def test_what_cannot_be_is_refused(tmp_path, whole):
    with pytest.raises(UserError, match=r"context of 5 pixels .* leaves nothing of a region of 10 .* from 0 to 4"):
        run(tmp_path, context=5)
    with pytest.raises(UserError, match=r"there is no layer 'dence'"):
        run(tmp_path, layer="dence")
    lenet = jaxcnn.create_model("lenet", num_classes=CLASSES)
    shapes = jax.eval_shape(lambda: lenet.init(jax.random.key(0), np.zeros((1, 28, 28, 3), np.float32), train=False))
    with pytest.raises(UserError, match=r"images of 60x60x3 .the size of regions. do not fit this network"):
        run(tmp_path, trained=dataclasses.replace(prepared(), model=lenet, variables=shapes), size=60)
    bad = [*BOXES[:3], np.array([[0, 0, np.nan, 4]], np.float32)]
    with pytest.raises(UserError, match=r"the boxes of 003 include box 0, .* not finite"):
        run(tmp_path, boxes=bad)
    with pytest.raises(ValueError, match="has 4 images and not 3"):
        run(tmp_path, boxes=BOXES[:3])
    assert not contents(tmp_path)
    lock = FolderLock(tmp_path)
    lock.acquire()
    with pytest.raises(UserError, match="is in use by process"):
        run(tmp_path)
    lock.release()
    (path,) = whole.glob("*.safetensors")
    name = path.name.removesuffix(".safetensors")
    damaged = tmp_path / path.name
    damaged.write_bytes(path.read_bytes())
    with pytest.raises(UserError, match=r"safetensors.json cannot be read: remove .* extract the regions again"):
        Regions(damaged, name)
    (tmp_path / f"{path.name}.json").write_text('{"images": [{"regions": 3}]}')
    with pytest.raises(UserError, match="is not the index of"):
        Regions(damaged, name)


def test_an_image_that_cannot_be_read_ends_it_and_what_was_computed_stays(whole, tmp_path, monkeypatch):
    def read():
        raise UserError("003.png is damaged: restore it")

    over(monkeypatch, 1)
    images = [*SPLIT.images[:3], dataclasses.replace(SPLIT.images[3], read=read)]
    with pytest.raises(UserError, match=r"003\.png is damaged: restore it"):
        run(tmp_path, dataclasses.replace(SPLIT, images=images))
    assert json.loads(next(tmp_path.glob("unfinished/*.json")).read_text())["images"] > 0
    run(tmp_path)
    assert contents(tmp_path) == contents(whole)
