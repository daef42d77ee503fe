"""The lecture's table: from stored results of one data set, and of no others."""

import json

import pytest

from jaxcnn import strict_json
from jaxcnn.cli.main import main
from jaxcnn.config import DataConfig, ModelConfig, TrainConfig, to_json
from jaxcnn.config.baselines import SiftFisher, SparseCoding
from jaxcnn.data.fingerprint import Fingerprint, Part
from jaxcnn.errors import UserError
from jaxcnn.tables.baselines import PUBLISHED, measured, table

IMAGES = {"training": Fingerprint("train", 64, ("a", "b"), {}), "evaluation": Fingerprint("test", 200, ("a", "b"), {})}


def write(folder, config, fingerprints=IMAGES):
    folder.mkdir()
    (folder / "config.json").write_text(to_json(config))
    prints = {use: each.to_json() for use, each in fingerprints.items()}
    (folder / "data.json").write_text(strict_json.dumps(prints))
    return folder


def baseline(folder, config, errors, fingerprints=IMAGES):
    write(folder, config, fingerprints)
    stored = {"kind": config.kind, "images": 200, "loss": 0.5, "top1_interval": [1, 2]}
    stored |= {f"top{k}_error": error for k, error in errors.items()}
    (folder / "result.json").write_text(strict_json.dumps(stored))
    return folder


def training(folder, errors, step=2, **changes):
    config = TrainConfig(name="n", epochs=1.0, model=ModelConfig(name="lenet"), data=DataConfig(batch_size=32))
    write(folder, config, **changes)
    errors = {f"top{k}_error": error for k, error in errors.items()}
    lines = [
        {"kind": "start", "step": 0, "training_images": 64, "devices": ["cpu"], "versions": {}},
        {"kind": "evaluation", "step": step, "loss": 0.1, "images": 200, **errors},
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_each_has_its_interval_beside_what_was_published(tmp_path):
    runs = [
        training(tmp_path / "network", {1: 1.0}),
        baseline(tmp_path / "fisher", SiftFisher(), {1: 2.5, 5: 0.5}),
    ]
    assert table([measured(run) for run in runs]) == (
        "|  | top-1 error, % (95 % interval) | top-5 error, % (95 % interval) | images | published on ILSVRC-2010: "
        "top-1 / top-5 error, % |\n"
        "| --- | --- | --- | --- | --- |\n"
        "| sparse coding | not run |  |  | 47.1 / 28.2 |\n"
        "| SIFT + Fisher vectors | 2.50 (1.07 to 5.72) | 0.50 (0.09 to 2.78) | 200 | 45.7 / 25.7 |\n"
        "| convolutional network (lenet) | 1.00 (0.27 to 3.57) |  | 200 | 37.5 / 17.0 |\n"
        "\n"
        "Ours: digits, 200 images of 'test', after 64 of 'train'. Published: ILSVRC-2010's test images; Krizhevsky, "
        "Sutskever and Hinton, NIPS 2012, table 1.\n"
    )


def test_the_command(tmp_path, capsys):
    run = baseline(tmp_path / "sparse", SparseCoding(), {1: 3.0})
    assert main(["baseline", "table", str(run), str(run)]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert [row.startswith("| sparse coding | 3.00 (1.38 to 6.39) | 200 |") for row in rows[2:4]] == [True, True]
    assert len(PUBLISHED) == 3
    assert main(["baseline", "table"]) == 2
    assert "there is nothing to put into a table" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("use", "other", "clause"),
    [
        ("training", Fingerprint("train", 65, ("a", "b"), {}), "it has 65 images and had 64"),
        ("evaluation", Fingerprint("test", 200, ("a", "c"), {}), "the class 'b' is gone and the class 'c' is new"),
        ("evaluation", Fingerprint("val", 200, ("a", "b"), {}), "the split is 'val' and was 'test'"),
    ],
)
def test_other_images_are_refused(use, other, clause, tmp_path):
    first = measured(baseline(tmp_path / "first", SiftFisher(), {1: 1.0}))
    second = measured(baseline(tmp_path / "second", SparseCoding(), {1: 1.0}, IMAGES | {use: other}))
    with pytest.raises(UserError, match=rf"second was not run on the images for {use} of .*first: {clause}; give runs"):
        table([first, second])


def test_of_data_sets_that_list_no_files_the_names_count(tmp_path):
    other = DataConfig(name="synthetic:2", channels=1)
    first = measured(baseline(tmp_path / "first", SiftFisher(), {1: 1.0}))
    second = measured(baseline(tmp_path / "second", SparseCoding(data=other), {1: 1.0}))
    with pytest.raises(
        UserError, match=r"second was not run on .*: they are of synthetic:2 and not of digits; give runs"
    ):
        table([first, second])
    files = {
        use: Fingerprint(each.split, each.images, each.class_names, {"": Part(3, "f0")}) for use, each in IMAGES.items()
    }
    moved = [
        measured(
            baseline(tmp_path / name, SiftFisher(data=DataConfig(name=f"folder:/{name}", channels=1)), {1: 1.0}, files)
        )
        for name in ("here", "there")
    ]
    assert table(moved).count("SIFT + Fisher vectors") == 2


def test_what_has_no_result(tmp_path):
    with pytest.raises(
        UserError, match="nowhere is neither the folder of a baseline nor that of a training: it has no"
    ):
        measured(tmp_path / "nowhere")
    unfinished = write(tmp_path / "unfinished", SiftFisher())
    with pytest.raises(UserError, match="unfinished has no result yet: go on with `jaxcnn baseline sift-fisher`"):
        measured(unfinished)
    with pytest.raises(UserError, match="begun is not at its end, so it has no result yet: go on with `jaxcnn train"):
        measured(training(tmp_path / "begun", {1: 1.0}, step=1))
    torn = baseline(tmp_path / "torn", SiftFisher(), {1: 1.0})
    (torn / "result.json").write_text('{"images": 2')
    with pytest.raises(UserError, match=r"result.json cannot be read: it holds no result: measure again"):
        measured(torn)
