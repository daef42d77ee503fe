"""Labels that are not simply the data set's: other orders of classes, ImageNet-V2 and ImageNet-ReaL."""

import dataclasses
import io
import json
import logging

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from jaxcnn.config import CenterCrop, DataConfig, Normalization
from jaxcnn.data.classes import match_classes
from jaxcnn.errors import UserError
from jaxcnn.evaluation.predictions import Predictions
from jaxcnn.evaluation.real import read_valid_labels
from jaxcnn.trained import Trained
from jaxcnn.weights.published import imagenet_classes, imagenet_wordnet_ids

WORDNET_IDS = ("n01440764", "n01443537", "n02123045", "n07920052", "n15075141")
STEP = 40


class Teller(nn.Module):
    """Whose first answer is the class that a grey image's brightness says, and whose next are its neighbours'."""

    num_classes: int

    @nn.compact
    def __call__(self, images, *, train):
        """Returns logits."""
        brightness = 255 * images.mean((1, 2, 3))[:, None]
        return -jnp.abs(brightness - STEP * jnp.arange(self.num_classes)[None] - 1)


def teller(class_names):
    crop = CenterCrop(size=4, resize=4)
    return Trained(
        model=Teller(len(class_names)),
        variables={},
        num_classes=len(class_names),
        class_names=tuple(class_names),
        data=DataConfig(evaluation_crop=crop, train_crop=crop),
        normalization=Normalization(mean=(0.0,), std=(1.0,)),
    )


def grey(said):
    """An image of which `Teller` says this class first, and the next one second."""
    return Image.new("RGB", (8, 6), (STEP * said + 5,) * 3)


def evaluate(network, data, valid=None, top_k=(1, 2)):
    """The errors, the number of images, and their labels."""
    split = network.open_split(data)
    predictions = network.predictions(split, batch_size=8)
    valid = network.valid_labels(split, valid)
    if valid is not None:
        predictions = predictions.with_valid_labels(valid)
    result = predictions.result(top_k)
    return result.errors, result.images


def folder(network, root, **options):
    return DataConfig(
        name=f"folder:{root}",
        **options,
        **{name: getattr(network.data, name) for name in ("evaluation_crop", "train_crop")},
    )


def photographs(root, classes):
    """`root/val/CLASS/`: one image of each class, of which `Teller` says the class that is given."""
    for number, (name, said) in enumerate(classes, 1):
        (root / "val" / name).mkdir(parents=True, exist_ok=True)
        grey(said).save(root / "val" / name / f"ILSVRC2012_val_{number:08d}.png")


def jpeg(said):
    file = io.BytesIO()
    grey(said).save(file, "JPEG", quality=95)
    return io.BytesIO(file.getvalue())


class ImagenetV2(tfds.core.GeneratorBasedBuilder):
    """As tfds's own: WordNet numbers in their order, files called by class and number."""

    VERSION = tfds.core.Version("3.0.0")
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name="matched-frequency")]  # noqa: RUF012
    NAMES = WORDNET_IDS

    def _info(self):
        features = {
            "image": tfds.features.Image(encoding_format="jpeg"),
            "label": tfds.features.ClassLabel(names=list(self.NAMES)),
            "file_name": tfds.features.Text(),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"test": self._generate_examples()}

    def _generate_examples(self):
        for index in range(10):
            yield index, {"image": jpeg(index // 2), "label": index // 2, "file_name": f"{index // 2}/{index}.jpeg"}


class Imagenet2012Real(tfds.core.GeneratorBasedBuilder):
    """As tfds's own: (said, original label, valid labels) of each image."""

    VERSION = tfds.core.Version("1.0.0")
    IMAGES = [  # noqa: RUF012
        (0, 0, [0]),
        (1, 0, [1, 4]),  # ReaL finds the answer right, and ILSVRC does not
        (2, 2, []),  # does not count, right as it would be
        (3, 3, [4]),  # the second answer is right
        (1, 1, [3, 4, 0]),  # none of the best two is
    ]

    def _info(self):
        label = tfds.features.ClassLabel(names=list(WORDNET_IDS))
        features = {
            "image": tfds.features.Image(encoding_format="jpeg"),
            "original_label": label,
            "real_label": tfds.features.Sequence(tfds.features.ClassLabel(names=list(WORDNET_IDS))),
            "file_name": tfds.features.Text(),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"validation": self._generate_examples()}

    def _generate_examples(self):
        for number, (said, original, real) in enumerate(self.IMAGES, 1):
            yield (
                number,
                {
                    "image": jpeg(said),
                    "original_label": original,
                    "real_label": real,
                    "file_name": f"ILSVRC2012_val_{number:08d}.JPEG",
                },
            )


class DamagedReal(Imagenet2012Real):
    """Whose first image is cut off."""

    def _generate_examples(self):
        for number, record in super()._generate_examples():
            if number == 1:
                record["image"] = io.BytesIO(record["image"].read()[:100])
            yield number, record


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    root = str(tmp_path_factory.mktemp("tfds"))
    ImagenetV2(data_dir=root, config="matched-frequency", file_format="array_record").download_and_prepare()
    for builder in (Imagenet2012Real, DamagedReal):
        builder(data_dir=root, file_format="array_record").download_and_prepare()
    return root


def of_tfds(network, name, root, **options):
    crops = {crop: getattr(network.data, crop) for crop in ("evaluation_crop", "train_crop")}
    return DataConfig(name=f"tfds:{name}", data_dir=root, **crops, **options)


def test_the_classes_of_ilsvrc_are_those_of_tfds():
    path = tfds.core.tfds_path("datasets/imagenet2012/labels.txt")
    assert list(imagenet_wordnet_ids()) == path.read_text().split()
    assert imagenet_wordnet_ids()[281] == "n02123045"
    assert imagenet_classes()[281] == "tabby"


def test_match_classes():
    orders = (("a", "b", "c"), ("x", "y", "z"))
    for names, order, indices in [
        (("a", "b", "c"), 0, [0, 1, 2]),
        (("c", "a"), 0, [2, 0]),
        (("z", "y", "x"), 1, [2, 1, 0]),
    ]:
        found = match_classes(names, orders, "there")
        assert (found[0], found[1].tolist()) == (orders[order], indices)
    numbers = tuple(sorted(map(str, range(12))))
    order, indices = match_classes(numbers, [tuple("abcdefghijkl")], "there")
    assert indices[:4].tolist() == [0, 1, 10, 11]
    assert order == tuple(map(str, range(12)))


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (("a", "w"), "there has 2 classes, and the network 3: 'w' is not one of .* named 'a', 'b' and so on; give"),
        (("a", "y"), "'y' is not one of the network's classes, which are named 'a', 'b'"),
        (("x", "y", "c"), "'c' is not one of the network's classes, which are named 'x', 'y'"),
        (("0", "1"), "'0' is not one"),
        (("1", "2", "3"), "'1' is not one"),
    ],
)
def test_classes_that_the_network_has_not(names, sentence):
    with pytest.raises(UserError, match=sentence):
        match_classes(names, (("a", "b", "c"), ("x", "y", "z")), "there")


def test_imagenet_v2_is_measured_as_any_other(prepared):
    network = teller(WORDNET_IDS)
    assert evaluate(network, of_tfds(network, "imagenet_v2/matched-frequency", prepared)) == ({1: 0.0, 2: 0.0}, 10)


def test_imagenet_v2_in_another_order_is_measured_by_name(prepared, caplog):
    network = teller(WORDNET_IDS[::-1])
    with caplog.at_level(logging.INFO, "jaxcnn"):
        errors, images = evaluate(network, of_tfds(network, "imagenet_v2", prepared))
    # The middle class alone is where it was.
    assert (errors[1], images) == (80.0, 10)
    assert "labels are taken by the names of the classes" in caplog.text
    with pytest.raises(UserError, match=r"imagenet_v2.* has 5 classes, and the network 2: 'n01440764' is not"):
        teller(("cat", "dog")).open_split(of_tfds(network, "imagenet_v2", prepared))


def test_imagenet_v2s_own_folders_are_sorted_as_text_and_meant_as_numbers(tmp_path):
    photographs(tmp_path, [(str(number), number % 6) for number in range(12)])
    network = teller([f"class {number}" for number in range(12)])
    errors, images = evaluate(network, folder(network, tmp_path))
    assert (errors[1], images) == (50.0, 12)


def test_some_of_ilsvrcs_classes_by_number_or_name(tmp_path):
    network = teller(imagenet_classes())
    assert network.wordnet_ids == imagenet_wordnet_ids()
    photographs(tmp_path / "ids", [(imagenet_wordnet_ids()[3], 3), (imagenet_wordnet_ids()[1], 2)])
    assert evaluate(network, folder(network, tmp_path / "ids")) == ({1: 50.0, 2: 50.0}, 2)
    photographs(tmp_path / "names", [("tench", 0), ("tiger shark", 3)])
    assert evaluate(network, folder(network, tmp_path / "names")) == ({1: 0.0, 2: 0.0}, 2)
    photographs(tmp_path / "mixed", [("tench", 0), (imagenet_wordnet_ids()[1], 2)])
    with pytest.raises(UserError, match=r"'tench' is not one of .* named 'n01440764', 'n01443537' and so on"):
        network.open_split(folder(network, tmp_path / "mixed"))


def test_imagenet_real_of_tfds(prepared, caplog):
    network = teller(WORDNET_IDS)
    with caplog.at_level(logging.INFO, "jaxcnn"):
        found = evaluate(network, of_tfds(network, "imagenet2012_real", prepared))
    assert found == ({1: 50.0, 2: 25.0}, 4)
    assert "1 images have no valid label and are left out" in caplog.text
    # The labels are the data set's: another order of the network's classes changes what they are called.
    back = dataclasses.replace(network, class_names=WORDNET_IDS[::-1])
    errors, _ = evaluate(back, of_tfds(network, "imagenet2012_real", prepared), top_k=(1,))
    # Of 0, 1, 3 and 1 the right ones are 4, 3 or 0, 0, and 1, 0 or 4.
    assert errors[1] == 75.0


def test_imagenet_real_with_an_image_that_cannot_be_read(prepared):
    network = teller(WORDNET_IDS)
    stream = of_tfds(network, "damaged_real", prepared, max_bad_share=0.5, residence="stream")
    assert evaluate(network, stream, top_k=(1,)) == ({1: pytest.approx(200 / 3)}, 3)
    resident = of_tfds(network, "damaged_real", prepared, max_bad_share=0.5)
    assert evaluate(network, resident, top_k=(1,)) == evaluate(network, stream, top_k=(1,))


def test_imagenet_real_of_its_file(tmp_path):
    """The file is in the order of the files' names, the folder's in that of its classes."""
    network = teller(WORDNET_IDS)
    names = [WORDNET_IDS[original] for _, original, _ in Imagenet2012Real.IMAGES]
    photographs(tmp_path, [(name, said) for name, (said, _, _) in zip(names, Imagenet2012Real.IMAGES, strict=True)])
    (tmp_path / "real.json").write_text(json.dumps([real for _, _, real in Imagenet2012Real.IMAGES]))
    data = folder(network, tmp_path)
    assert evaluate(network, data) == ({1: 20.0, 2: 20.0}, 5)
    assert evaluate(network, data, tmp_path / "real.json") == ({1: 50.0, 2: 25.0}, 4)


def test_the_best_of_several_right_labels_counts():
    scores = np.array([[0, 3, 2, 1], [3, 2, 1, 0], [1, 1, 1, 1], [0, 1, 2, np.nan], [0, 1, 2, 3]], np.float32)
    predictions = Predictions(scores, np.zeros(5, np.int32), np.array([True, True, True, True, False]))
    judged = predictions.with_valid_labels([[3, 2], [3, 3], [2, 1], [3], [3]])
    assert judged.labels.tolist() == [2, 3, 1, 3, 0]
    # Of equal scores the lower class comes first; a score that is not a number comes last.
    assert judged.ranks().tolist() == [1, 3, 1, 3]
    assert judged.result((1, 2)).errors == {1: 100.0, 2: 50.0}
    assert predictions.labels.tolist() == [0] * 5
    assert predictions.with_valid_labels([[], [0], [], [], [1]]).known.tolist() == [False, True, False, False, False]
    with pytest.raises(UserError, match="no image has a valid label"):
        predictions.with_valid_labels([[], [], [], [], [1]])


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("[[0], [1]", r"labels.json cannot be read: Expecting"),
        ('{"a": [0]}', "must be a JSON list that holds, for each image, the list of its labels"),
        ("[0, 1]", "must be a JSON list that holds"),
        ("[[0], [1], []]", "are of 3 images, and there are 2"),
        ("[[0], [5]]", "give image 2 the label 5, and labels are 0 to 4"),
        ("[[-1], []]", "give image 1 the label -1"),
        ("[[0.5], []]", "give image 1 the label 0.5"),
        ("[[true], []]", "give image 1 the label True"),
    ],
)
def test_files_of_labels_that_are_wrong(content, sentence, tmp_path):
    (tmp_path / "labels.json").write_text(content)
    with pytest.raises(UserError, match=sentence):
        read_valid_labels(tmp_path / "labels.json", 2, 5)


def test_a_file_of_labels_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match=r"the labels .*nope.json cannot be read: No such file"):
        read_valid_labels(tmp_path / "nope.json", 2, 5)


def test_labels_by_number_need_numbered_images(tmp_path):
    network = teller(WORDNET_IDS)
    photographs(tmp_path, [(WORDNET_IDS[0], 0)])
    (tmp_path / "val" / WORDNET_IDS[0] / "ILSVRC2012_val_00000001.png").rename(tmp_path / "val/n01440764/cat.png")
    (tmp_path / "real.json").write_text("[[0]]")
    with pytest.raises(UserError, match=r"the 1 images of .* are not numbered from 1 to 1 by their files' names"):
        network.valid_labels(network.open_split(folder(network, tmp_path)), tmp_path / "real.json")
