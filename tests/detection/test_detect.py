"""`jaxcnn detect`: from annotated images to answers, pictures and average precision, going on from any interruption."""

import json
import shutil

import numpy as np
import PIL.Image
import pytest
import safetensors.numpy

from jaxcnn.cli.main import main
from jaxcnn.detection import machines, proposals, rcnn, regions, work
from jaxcnn.detection.sources import open_annotated
from jaxcnn.models.lenet import LeNet
from jaxcnn.models.registry import list_models, register
from jaxcnn.models.variant import Variant
from jaxcnn.weights import load
from tests.detection import tiny

MODEL = "network_of_the_detection_tests"
OPTIONS = (
    *("--tuning.steps", "30", "--tuning.objects", "8", "--tuning.backgrounds", "24", "--proposals.min-size", "8"),
    *("--tuning.optimizer.learning-rate", "0.02", "--machines.negatives", "50", "--warp.context", "2"),
    *("--machines.regularization", "0.1", "--layer", "dense2", "--tuning.no-mirror", "--warp.regions-at-once", "16"),
)


def write_coco(folder, split, count, seed):
    """A split of `tiny.scene`s in COCO's layout."""
    images, annotations = [], []
    (folder / "images" / split).mkdir(parents=True)
    (folder / "annotations").mkdir(exist_ok=True)
    for index in range(count):
        pixels, objects = tiny.scene(seed + index)
        PIL.Image.fromarray(pixels).save(folder / "images" / split / f"{index}.png")
        images.append({"id": index + 1, "file_name": f"{index}.png", "width": 48, "height": 40})
        for box, label in zip(objects.boxes.tolist(), objects.labels.tolist(), strict=True):
            corner, size = box[:2], [box[2] - box[0], box[3] - box[1]]
            number = len(annotations) + 1
            annotations.append({"id": number, "image_id": index + 1, "category_id": label + 1, "bbox": corner + size})
    categories = [{"id": number, "name": name} for number, name in enumerate(tiny.CLASSES, 1)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations" / f"{split}.json").write_text(json.dumps(content))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A data set, weights that have learnt nothing, and a detector that is trained with them."""
    folder = tmp_path_factory.mktemp("detection")
    write_coco(folder / "scenes", "train", 8, seed=0)
    write_coco(folder / "scenes", "validation", 6, seed=50)
    if MODEL not in list_models():
        register(Variant(MODEL, "tests", LeNet, {}, input_size=tiny.SIZE, channels=3, num_classes=10))
    random = np.random.default_rng(1)
    shapes = load.variable_shapes(MODEL, {"num_classes": 10})
    state = {name: 0.2 * random.standard_normal(leaf.shape, np.float32) for name, leaf in shapes.items()}
    safetensors.numpy.save_file(state, folder / "lenet.safetensors")
    assert main(command(folder, folder / "detector")) == 0
    return folder


def command(folder, workdir, *more):
    network = ("detect", "train", MODEL, "--weights", str(folder / "lenet.safetensors"))
    return [*network, "--data.name", f"coco:{folder / 'scenes'}", "--workdir", str(workdir), *OPTIONS, *more]


@pytest.fixture
def detector(files, tmp_path):
    """A copy of the detector, to which a test may add."""
    shutil.copytree(files / "detector", tmp_path / "detector")
    return tmp_path / "detector"


def kept(folder):
    """The bytes of all files, without the log and the state of training, which say when something happened."""
    return {
        path.relative_to(folder): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not {"checkpoints", "tensorboard", "lock", "metrics.jsonl"} & set(path.parts)
    }


def test_finds_what_it_was_trained_for(detector, files, capsys):
    assert main(["detect", "evaluate", str(detector)]) == 0
    said = capsys.readouterr().out
    assert "mAP" in said
    stored = json.loads((detector / "results" / "validation.result.json").read_text())
    assert stored["images"] == 6
    assert stored["mean"]["voc_area"] > 80
    answers = json.loads((detector / "results" / "validation.json").read_text())
    assert {each["category_id"] for each in answers} == {1, 2}


def test_a_second_call_computes_no_proposal_and_no_feature_again(detector, files, monkeypatch):
    before = kept(detector)

    def must_not(*arguments, **options):
        raise AssertionError("it was computed again")

    assert main(["detect", "evaluate", str(detector)]) == 0
    for module, name in ((proposals, "search"), (regions, "over_devices"), (machines, "_fit"), (work, "tuned")):
        monkeypatch.setattr(module, name, must_not)
    assert main(command(files, detector)) == 0
    after = kept(detector)
    assert main(["detect", "evaluate", str(detector)]) == 0
    assert kept(detector) == after
    assert {name: after[name] for name in before} == before


@pytest.mark.parametrize(
    "questions", [(5, 15, 30, 20), pytest.param(range(2, 400, 9), marks=pytest.mark.slow)], ids=["thrice", "often"]
)
def test_stopped_again_and_again_it_ends_in_the_same_bytes(files, tmp_path, monkeypatch, questions):
    allowed, codes = iter(questions), []

    class Stops:
        """Asks to stop at a question that comes later from one call of the command to the next."""

        def __init__(self):
            self.left = next(allowed, 10_000)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def __call__(self):
            self.left -= 1
            return self.left < 0

    monkeypatch.setattr(rcnn, "StopRequest", Stops)
    while not codes or codes[-1] == 75:
        codes.append(main(command(files, tmp_path / "detector")))
    assert codes[-1] == 0
    assert len(codes) > 3
    assert kept(tmp_path / "detector") == kept(files / "detector")


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        (("--tuning.steps", "0"), "tuned"),
        pytest.param(("--classifier", "softmax"), "machines.safetensors", marks=pytest.mark.slow),
        pytest.param(("--regression.no-used",), "regressors.safetensors", marks=pytest.mark.slow),
        pytest.param(("--machines.passes", "0"), None, marks=pytest.mark.slow),
        pytest.param(("--warp.context", "0"), None, marks=pytest.mark.slow),
    ],
    ids=["tuning", "machines", "regression", "hard negatives", "context"],
)
def test_each_part_can_be_switched_off(files, tmp_path, change, missing):
    workdir = tmp_path / "detector"
    workdir.mkdir()
    shutil.copytree(files / "detector" / "proposals", workdir / "proposals")
    assert main(command(files, workdir, *change)) == 0
    assert main(["detect", "evaluate", str(workdir)]) == 0
    assert missing is None or not (workdir / missing).exists()
    assert json.loads((workdir / "results" / "validation.result.json").read_text())["mean"]["voc_area"] > 30


def test_the_tuned_network_slides_over_images(detector):
    assert main(["detect", "evaluate", str(detector), "--method", "sliding", "--sliding.scales", "1.0", "1.4"]) == 0
    stored = json.loads((detector / "results" / "validation-sliding.result.json").read_text())
    assert stored["mean"]["voc_area"] > 20


def test_photographs_are_answered_without_the_images_of_training(detector, files, tmp_path, monkeypatch):
    pixels, objects = tiny.scene(99)
    PIL.Image.fromarray(pixels).save(tmp_path / "photo.png")
    PIL.Image.new("RGB", (30, 30), "grey").save(tmp_path / "flat.png")
    moved = files / "scenes"
    moved.rename(files / "elsewhere")
    try:
        images = [str(tmp_path / "photo.png"), str(tmp_path / "flat.png")]
        assert main(["detect", "run", str(detector), *images, "--out", str(tmp_path / "out")]) == 0
    finally:
        (files / "elsewhere").rename(moved)
    answers = json.loads((tmp_path / "out" / "answers.json").read_text())
    assert {each["image_id"] for each in answers} >= {1}
    best = max((each for each in answers if each["category_id"] == 2), key=lambda each: each["score"])
    left, top, width, height = best["bbox"]
    np.testing.assert_allclose([left, top, left + width, top + height], objects.boxes[1], atol=5)
    with PIL.Image.open(tmp_path / "out" / "photo.png") as picture:
        assert picture.size[0] / picture.size[1] == 48 / 40


def test_recall_of_the_proposals(detector, capsys):
    assert main(["detect", "recall", str(detector)]) == 0
    assert "recall" in capsys.readouterr().out


@pytest.mark.slow
def test_an_image_without_objects_and_an_empty_annotation_are_learned_from(files, tmp_path):
    shutil.copytree(files / "scenes", tmp_path / "scenes")
    file = tmp_path / "scenes" / "annotations" / "train.json"
    content = json.loads(file.read_text())
    content["annotations"] = [each for each in content["annotations"] if each["image_id"] > 3]
    file.write_text(json.dumps(content))
    (tmp_path / "lenet.safetensors").symlink_to(files / "lenet.safetensors")
    assert main(command(tmp_path, tmp_path / "detector")) == 0
    split = open_annotated(f"coco:{tmp_path / 'scenes'}", "train")
    assert [len(image.objects) for image in split.images[:4]] == [0, 0, 0, 2]


def test_mistakes_are_answered_in_a_sentence(files, detector, tmp_path, capsys):
    def said(*arguments):
        assert main(["detect", *map(str, arguments)]) == 2
        return capsys.readouterr().err.strip().splitlines()[-1]

    assert said("evaluate", tmp_path) == (f"error: {tmp_path} holds no detector: train one with `jaxcnn detect train`")
    with pytest.raises(SystemExit):
        main(["detect", "trian"])
    assert "trian" in capsys.readouterr().err
    assert said(*command(files, detector, "--machines.bias", "3")[1:]).startswith(
        f"error: {detector} holds a detector of another config, in which rcnn.machines.bias is 10.0 and not 3.0"
    )
    assert said(*command(files, tmp_path / "other", "--layer", "dens2")[1:]).startswith(
        "error: there is no layer 'dens2' in this network: did you mean 'dense2'"
    )
    assert said(*command(files, tmp_path / "other", "--warp.context", "8")[1:]).startswith(
        "error: a context of 8 pixels on either side leaves nothing of a region of 16 pixels"
    )
    assert said("run", detector, tmp_path / "none.png", "--out", tmp_path / "out") == (
        f"error: {tmp_path / 'none.png'} cannot be read (No such file or directory): name an image file"
    )
    assert said(*command(files, tmp_path / "other", "--classifier", "softmax", "--tuning.steps", "0")[1:]).startswith(
        "error: the softmax of a network that is not tuned does not know the background: set --tuning.steps above 0"
    )
    nothing = [each for each in command(files, tmp_path / "other") if each not in ("--data.name",)]
    nothing.remove(f"coco:{files / 'scenes'}")
    assert said(*nothing[1:]).startswith("error: the detector is given no images to learn from: name them with --data")


def test_a_split_of_other_classes_is_refused(files, detector, capsys):
    file = files / "scenes" / "annotations" / "others.json"
    shutil.copytree(files / "scenes" / "images" / "validation", files / "scenes" / "images" / "others")
    content = json.loads((files / "scenes" / "annotations" / "validation.json").read_text())
    content["categories"][1]["name"] = "bright"
    file.write_text(json.dumps(content))
    try:
        assert main(["detect", "evaluate", str(detector), "--split", "others"]) == 2
    finally:
        file.unlink()
    assert "has other classes than the detector (bright, light)" in capsys.readouterr().err
