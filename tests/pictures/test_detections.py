"""Pictures of detection: which pixels are drawn, and what the panels hold."""

import numpy as np
import pytest
from PIL import Image

from jaxcnn.detection.annotations import Objects
from jaxcnn.detection.average_precision import curves
from jaxcnn.detection.detections import Detections
from jaxcnn.pictures.detections import drawn, plot_precision_recall, plot_recall

NAMES = ("cat", "dog\n")
GREY = np.full((60, 100, 3), 128, np.uint8)
SCALE = 8


def pixels(*arguments):
    return np.asarray(drawn(*arguments)).astype(int)


def test_small_images_are_enlarged_and_large_ones_stay():
    image = np.random.default_rng(0).integers(0, 256, (60, 100, 3), np.uint8)
    found = drawn(image, Detections.none(), NAMES, Objects.of([], []))
    assert found.size == (100 * SCALE, 60 * SCALE)
    np.testing.assert_array_equal(np.asarray(found.reduce(SCALE)).mean(), pytest.approx(image.mean(), abs=1))
    large = np.zeros((700, 900, 3), np.uint8)
    assert drawn(large, Detections.none(), NAMES).size == (900, 700)


def test_a_box_is_drawn_where_it_is():
    found = pixels(GREY, Detections.of([[20, 25, 60, 50]], [0.5], [0]), NAMES)
    changed = (found != 128).any(2)
    # The border lies inside the box, and the name above it.
    rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
    assert (columns[0], columns[-1], rows[-1]) == (20 * SCALE, 60 * SCALE - 1, 50 * SCALE - 1)
    assert 22 * SCALE <= rows[0] < 25 * SCALE
    assert not changed[26 * SCALE : 49 * SCALE, 21 * SCALE : 59 * SCALE].any()
    left, right = found[40 * SCALE, 20 * SCALE + 2], found[40 * SCALE, 60 * SCALE - 3]
    assert (left == right).all()
    assert left.max() == 255
    # Another class has another colour.
    other = pixels(GREY, Detections.of([[20, 25, 60, 50]], [0.5], [1]), NAMES)
    assert np.abs(other[40 * SCALE, 20 * SCALE + 2] - left).max() > 100


def test_annotated_objects_are_dashed():
    found = pixels(GREY, Detections.none(), NAMES, Objects.of([[20, 25, 60, 50]], [0]))
    edge = found[25 * SCALE + 1, 30 * SCALE : 50 * SCALE]
    assert {tuple(each) for each in edge} == {(0, 0, 0), (255, 255, 255)}


def test_names_do_not_cover_each_other():
    boxes = [[20, 25, 60, 50], [20, 25, 61, 51], [20, 25, 62, 52]]
    both = pixels(GREY, Detections.of(boxes[:2], [0.9, 0.8], [0, 1]), NAMES)
    best = pixels(GREY, Detections.of(boxes[:1], [0.9], [0]), NAMES)
    above = np.s_[: 25 * SCALE - 1]
    np.testing.assert_array_equal(both[above], best[above])
    # The second name lies below its box.
    assert (both[51 * SCALE + 1 :] != 128).any()
    assert (best[51 * SCALE + 1 :] == 128).all()


@pytest.mark.parametrize(
    "box",
    [[-50, -50, 5, 5], [90, 50, 500, 400], [-90, 20, -40, 30], [200, 200, 300, 300], [30, 30, 30, 30], [0, 0, 100, 60]],
    ids=["left corner", "right corner", "beside", "beyond", "degenerate", "whole"],
)
def test_boxes_beyond_the_image_and_without_area_are_drawn(box):
    found = pixels(GREY, Detections.of([box], [-3], [1]), NAMES, Objects.of([box], [1]))
    assert (found != 128).any()


def test_names_without_room_are_still_drawn():
    tiny = np.zeros((2, 900, 3), np.uint8)
    assert drawn(tiny, Detections.of([[0, 0, 900, 2]], [0.5], [0]), ("a very long name " * 20,)).size == (900, 2)


def test_the_area_that_is_filled_is_the_average_precision(tmp_path, monkeypatch):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    random = np.random.default_rng(0)
    objects = [Objects.of([[0, 0, 10, 10], [20, 0, 30, 10]], [0, 1]) for _ in range(12)]
    detections = [
        Detections.of(each.boxes + random.choice([0, 0, 9], (2, 1)), random.random(2), [0, 1]) for each in objects
    ]
    found = [*curves(objects, detections, 3, "voc"), *curves(objects, [Detections.none()] * 12, 2, "voc")[:1]]
    monkeypatch.setattr(pyplot, "close", lambda figure: None)
    path = tmp_path / "curves.png"
    plot_precision_recall(found, ["a", "$b", "c", "d\n"], path)
    figure = pyplot.gcf()
    monkeypatch.undo()
    titles = [axis.get_title() for axis in figure.axes]
    assert titles[2:] == ["c\nno objects", "d\\n\nnothing found, 12 objects"]
    for axis, curve in zip(figure.axes[:2], found, strict=False):
        (filled,) = axis.collections
        x, y = filled.get_paths()[0].vertices.T
        area = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
        assert area == pytest.approx(curve.average_precision("area"))
        assert 0.2 < area < 0.9
        assert f"AP {100 * area:.1f} %, 12 objects" in axis.get_title()
    pyplot.close(figure)
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert picture.width > picture.height > 200


def test_recall_is_drawn_for_each_kind_of_proposals(tmp_path, monkeypatch):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    monkeypatch.setattr(pyplot, "close", lambda figure: None)
    plot_recall({"fast": ([1, 10, 100], [0.1, 0.5, 0.9]), "quality": ([1, 1000], [0, 1])}, tmp_path / "recall.png")
    figure = pyplot.gcf()
    monkeypatch.undo()
    lines = {line.get_label(): line.get_xydata().tolist() for line in figure.axes[0].lines}
    pyplot.close(figure)
    assert lines == {"fast": [[1, 0.1], [10, 0.5], [100, 0.9]], "quality": [[1, 0], [1000, 1]]}
    assert (tmp_path / "recall.png").stat().st_size > 5000


def test_nothing_to_draw_is_drawn_all_the_same(tmp_path):
    pytest.importorskip("matplotlib")
    plot_recall({"of no image": ([0.0], [float("nan")])}, tmp_path / "recall.png")
    plot_precision_recall([], [], tmp_path / "curves.png")
    assert {path.name for path in tmp_path.iterdir()} == {"recall.png", "curves.png"}
