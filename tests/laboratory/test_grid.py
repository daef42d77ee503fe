import dataclasses
from pathlib import Path

import pytest

from jaxcnn.errors import UserError
from jaxcnn.laboratory.grid import IMAGES_A_DEVICE, Grid, subject

TINY = str(Path(__file__).parents[1] / "recipes" / "tiny.py")
DEVICES = {None: 8, "h100:8": 8, "v5e:2x2": 4}


@pytest.fixture(scope="module")
def tiny():
    return subject(TINY)


def test_every_combination_is_a_point_once(tiny):
    grid = Grid(
        topology=("h100:8", "v5e:2x2"),
        batch=(64, 128),
        dtype=("bfloat16", "bfloat16"),
        remat=("none", "all", "1"),
        wrapper=("jit", "pmap"),
        scan=("off", "on"),
    )
    points = [point for point, _ in grid.points([tiny, tiny], DEVICES)]
    assert len(points) == len(set(points)) == 2 * 2 * 1 * 2 * 2 * 2  # all is 1, because the network has one stage
    assert {point.remat for point in points} == {(), (1,)}
    assert {point.lowering for point in points} == {"auto"}


def test_a_recipe_keeps_what_nothing_is_said_about(tiny):
    ((point, of),) = Grid().points([tiny], DEVICES)
    assert of is tiny
    assert point.config(tiny.config) == tiny.config
    changed = dataclasses.replace(
        point, dtype="bfloat16", remat=(1,), wrapper="pmap", batch_size=8, lowering="xla", scan=True
    )
    config = changed.config(tiny.config)
    assert (config.model.dtype, config.model.remat, config.model.lowering) == ("bfloat16", (1,), "xla")
    assert config.model.scan
    assert (config.parallel.wrapper, config.data.batch_size) == ("pmap", 8)
    assert config.optimizer == tiny.config.optimizer


@pytest.mark.parametrize(
    ("name", "shape", "classes"), [("lenet", (32, 32, 1), 10), ("inception_v3", (299, 299, 3), 1000)]
)
def test_a_network_takes_its_own_images_a_number_on_each_device(name, shape, classes):
    found = subject(name)
    assert not found.is_recipe
    assert found.data.train.image_shape == shape
    assert len(found.data.class_names) == classes
    grid = Grid(topology=("v5e:2x2", "h100:8"))
    sizes = [point.batch_size for point, _ in grid.points([found], DEVICES)]
    assert sizes == [4 * IMAGES_A_DEVICE, 8 * IMAGES_A_DEVICE]
    sizes = [
        point.batch_size for point, _ in dataclasses.replace(grid, batch_per_device=(2, 5)).points([found], DEVICES)
    ]
    assert sizes == [8, 20, 16, 40]


def test_labels_tell_points_apart_and_name_no_folders(tiny):
    grid = Grid(
        topology=("h100:8",),
        batch=(8,),
        dtype=("float32", "bfloat16"),
        lowering=("auto", "gemm"),
        remat=("none", "1"),
        layers=("ours", "flax"),
        scan=("off", "on"),
    )
    labels = [point.label for point, _ in grid.points([tiny], DEVICES)]
    assert len(set(labels)) == 32
    assert labels[0] == "tiny h100:8 b8 float32"
    assert labels[-1] == "tiny h100:8 b8 bfloat16 gemm remat 1 plain Flax scanned"


def test_blocks_can_be_scanned(tiny):
    points = [point for point, _ in Grid(scan=("off", "on"), batch=(8,)).points([tiny], DEVICES)]
    assert [point.config(tiny.config).model.scan for point in points] == [False, True]
    assert points[1].label == f"{points[0].label} scanned"


def test_a_recipe_comes_before_a_network_and_a_path_is_a_path():
    assert subject("resnet50_imagenet").is_recipe
    assert subject("resnet50").config.model.name == "resnet50"
    assert subject(TINY).source.startswith('"""')


@pytest.mark.parametrize(
    ("grid", "sentence"),
    [
        (Grid(batch=(8,), batch_per_device=(2,)), "--batch and --batch-per-device both say how large a batch is"),
        (Grid(batch=(0,)), "--batch 0 is no number of images"),
        (Grid(batch_per_device=(2, -1)), "--batch-per-device -1 is no number of images"),
        (Grid(remat=("some",)), "--remat 'some' names no stages: give none, all, or numbers as in 1\\+2"),
        (Grid(remat=("1+7",)), "--remat names stage 7, and .*tiny.py has stages 1 to 1"),
    ],
)
def test_an_impossible_grid_is_refused_in_a_sentence(grid, sentence, tiny):
    with pytest.raises(UserError, match=sentence):
        grid.points([tiny], DEVICES)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("resnet5", "there is no model or recipe 'resnet5': did you mean 'resnet50'"),
        ("nowhere/run", "there is no recipe or run folder nowhere/run"),
    ],
)
def test_an_unknown_name_is_answered_with_near_ones(name, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=sentence):
        subject(name)
