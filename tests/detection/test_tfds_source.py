"""Data sets for detection that tfds has prepared: boxes, difficult objects and crowds, and what is refused."""

import io

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from jaxcnn.detection.sources import annotated_splits, open_annotated
from jaxcnn.errors import UserError
from tests.detection.folders import voc_annotation, voc_folder, voc_object


def encoded(width, height, format):
    file = io.BytesIO()
    Image.fromarray(np.full((height, width, 3), 9, np.uint8)).save(file, format)
    return io.BytesIO(file.getvalue())


class Voc(tfds.core.GeneratorBasedBuilder):
    """The features of tfds's own, by its name, whose boxes are VOC's divided by the size."""

    VERSION = tfds.core.Version("1.0.0")
    EXTRA = {"is_difficult": np.bool_, "is_truncated": np.bool_}  # noqa: RUF012
    KEY, FORMAT = "image/filename", "JPEG"
    RECORDS = [  # noqa: RUF012
        ("000012.jpg", [((1, 2, 1, 4), 1, True), ((3, 7, 9, 12), 0, False)]),
        ("000007.jpg", []),
    ]

    def _info(self):
        features = {
            "image": tfds.features.Image(),
            self.KEY: tfds.features.Text() if self.KEY == "image/filename" else np.int64,
            "objects": tfds.features.Sequence(
                {
                    "label": tfds.features.ClassLabel(names=["cat", "dog"]),
                    "bbox": tfds.features.BBoxFeature(),
                    **self.EXTRA,
                }
            ),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, download_manager):
        return {"train": self._records()}

    def _generate_examples(self):
        raise NotImplementedError

    def _records(self):
        for name, objects in self.RECORDS:
            yield (
                str(name),
                {
                    "image": encoded(30, 20, self.FORMAT),
                    self.KEY: name,
                    "objects": [
                        {
                            "label": label,
                            "bbox": tfds.features.BBox(box[1] / 20, box[0] / 30, box[3] / 20, box[2] / 30),
                            **{key: flag and key in ("is_difficult", "is_crowd") for key in self.EXTRA},
                        }
                        for box, label, flag in objects
                    ],
                },
            )


class Crowds(Voc):
    """The features of tfds's COCO."""

    EXTRA = {"is_crowd": np.bool_}  # noqa: RUF012
    KEY, FORMAT = "image/id", "PNG"
    RECORDS = [(77, [((3, 7.5, 9, 12), 0, True)]), (5, [])]  # noqa: RUF012


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> str:
    folder = str(tmp_path_factory.mktemp("tfds"))
    for builder in (Voc, Crowds):
        builder(data_dir=folder, file_format="array_record").download_and_prepare()
    return folder


def test_vocs_records_are_read_as_its_folder_is(prepared, tmp_path):
    split = open_annotated("tfds:voc", "train", prepared)
    assert (split.class_names, split.category_ids) == (("cat", "dog"), (1, 2))
    annotations = {
        name.removesuffix(".jpg"): voc_annotation(
            objects=[voc_object(("cat", "dog")[label], box, int(difficult)) for box, label, difficult in objects]
        )
        for name, objects in Voc.RECORDS
    }
    folder = open_annotated(voc_folder(tmp_path, annotations), "train")
    expected = {image.image_id: image for image in folder.images}
    assert {image.image_id for image in split.images} == {7, 12}
    for image in split.images:
        other = expected[image.image_id]
        assert (image.width, image.height) == (other.width, other.height) == (30, 20)
        for field in ("boxes", "labels", "difficult", "crowd"):
            np.testing.assert_array_equal(getattr(image.objects, field), getattr(other.objects, field))
        assert image.read().shape == (20, 30, 3)
        assert image.name.endswith(f"({image.image_id:06d}.jpg)")
    assert [len(expected[number].objects) for number in (12, 7)] == [2, 0]


def test_crowds_and_numbers_are_read_and_boxes_are_not_moved(prepared):
    split = open_annotated("tfds:crowds", "train", prepared)
    image = next(image for image in split.images if image.image_id == 77)
    np.testing.assert_allclose(image.objects.boxes, [[3, 7.5, 9, 12]], atol=1e-5)
    assert image.objects.crowd.tolist() == [True]
    assert not image.objects.difficult.any()
    assert {each.image_id for each in split.images} == {5, 77}
    assert image.read().shape == (20, 30, 3)
    assert split.fingerprint().images == 2


def test_splits_and_slices(prepared):
    assert annotated_splits("tfds:voc", prepared) == ("train",)
    assert len(open_annotated("tfds:voc", "train[:1]", prepared)) == 1
    with pytest.raises(UserError, match="has no images in a split 'test'"):
        open_annotated("tfds:voc", "test", prepared)


def test_what_is_not_for_detection_is_a_sentence(prepared, monkeypatch):
    class Builder:
        """A data set for classification."""

        class info:
            """Its features."""

            features = {"image": None, "label": None}  # noqa: RUF012

    monkeypatch.setattr("jaxcnn.detection.sources.tfds.tfds_builder", lambda rest, data_dir: Builder)
    with pytest.raises(UserError, match="tfds:mnist is not for detection: it has no bbox, label as tfds's data sets"):
        open_annotated("tfds:mnist", "train", prepared)


def test_a_damaged_file_is_a_sentence(tmp_path):
    Crowds(data_dir=str(tmp_path), file_format="array_record").download_and_prepare()
    (shard,) = tmp_path.rglob("*.array_record*")
    content = bytearray(shard.read_bytes())
    found = content.index(b"IHDR")
    content[found : found + 4] = b"ihdr"
    shard.write_bytes(content)
    with pytest.raises(UserError, match=r"record \d of tfds:crowds, split 'train', cannot be read \(.*\): prepare the"):
        open_annotated("tfds:crowds", "train", str(tmp_path))
