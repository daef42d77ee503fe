"""Average precision, on random sets of boxes, against loops that are written here and against COCO's own tool."""

import contextlib
import io
import itertools
import json
from fractions import Fraction

import numpy as np
import pytest

from jaxcnn.detection.annotations import AnnotatedImage, AnnotatedSplit, Objects
from jaxcnn.detection.average_precision import curves
from jaxcnn.detection.coco import coco_precision
from jaxcnn.detection.detections import Detections, read_results, write_results
from jaxcnn.detection.result import FIGURES, measured
from jaxcnn.errors import UserError

CLASSES, SETS = 4, 200
SIDE = 9


def drawn_boxes(random, count):
    """Boxes of whole pixels, so that many of them overlap alike, and some are degenerate."""
    corners = np.sort(random.integers(0, SIDE, (count, 2, 2)), axis=1).reshape(count, 4)
    return corners.astype(np.float32)


def drawn(seed):
    """The objects and the detections of a few images.

    Scores are often equal, some objects are difficult or crowds, some detections are exactly objects, twice or with a
    moved side, and some images and classes have no objects, no detections, or neither.
    """
    random = np.random.default_rng(seed)
    present = np.flatnonzero(random.random(CLASSES) < 0.8)
    objects, detections = [], []
    for _ in range(random.integers(1, 5)):
        count = random.integers(0, 7) if len(present) else 0
        boxes = drawn_boxes(random, count)
        if seed % 4:  # In the other sets some objects have no area, as no source gives them.
            boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
        labels = random.choice(present, count) if count else []
        kinds = random.choice(3, count, p=[0.7, 0.15, 0.15])
        objects.append(Objects.of(boxes, labels, kinds == 1, kinds == 2))
        copies = random.integers(0, count, random.integers(0, 7)) if count else np.zeros(0, int)
        near = boxes[copies].copy()
        near[:, 2] += random.integers(0, 2, len(near))
        free = drawn_boxes(random, random.integers(0, 5))
        own = np.concatenate([objects[-1].labels[copies], random.integers(0, CLASSES, len(free))])
        scores = random.integers(-4, 5, len(own)) / 4
        detections.append(Detections.of(np.concatenate([near, free]), scores.astype(np.float32), own.astype(np.int32)))
    return objects, detections


def share(a, b):
    """The intersection over union of two boxes of whole pixels, by counting pixels."""
    one = {(x, y) for x in range(int(a[0]), int(a[2])) for y in range(int(a[1]), int(a[3]))}
    other = {(x, y) for x in range(int(b[0]), int(b[2])) for y in range(int(b[1]), int(b[3]))}
    return Fraction(len(one & other), len(one | other)) if one | other else Fraction(0)


def voc_by_hand(objects, detections, label, threshold=Fraction(1, 2)):
    """VOC's average precision of a class in exact fractions (by area, at 11 points); None without objects."""
    positives, queue, taken = 0, [], set()
    for image, (there, found) in enumerate(zip(objects, detections, strict=True)):
        for number in range(len(there)):
            if there.labels[number] == label and not (there.difficult[number] or there.crowd[number]):
                positives += 1
        for number in range(len(found)):
            if found.labels[number] == label:
                queue.append((-float(found.scores[number]), image, number))
    points, hits, misses = [], 0, 0
    for _, image, number in sorted(queue):
        there, box = objects[image], detections[image].boxes[number]
        best, nearest = Fraction(-1), None
        for candidate in range(len(there)):
            if there.labels[candidate] == label and share(box, there.boxes[candidate]) > best:
                best, nearest = share(box, there.boxes[candidate]), candidate
        if best >= threshold and (there.difficult[nearest] or there.crowd[nearest]):
            continue
        if best >= threshold and (image, nearest) not in taken:
            taken.add((image, nearest))
            hits += 1
        else:
            misses += 1
        points.append((Fraction(hits, positives or 1), Fraction(hits, hits + misses)))
    if not positives:
        return None

    def best_from(recall):
        return max((precision for reached, precision in points if reached >= recall), default=Fraction(0))

    steps = sorted({reached for reached, _ in points} | {Fraction(0)})
    area = sum((high - low) * best_from(high) for low, high in itertools.pairwise(steps))
    return area, sum(best_from(Fraction(tenth, 10)) for tenth in range(11)) / 11


def test_voc_equals_the_loops_on_random_sets():
    seen = {"undefined": 0, "zero": 0, "one": 0, "between": 0}
    for seed in range(SETS):
        objects, detections = drawn(seed)
        for label, curve in enumerate(curves(objects, detections, CLASSES, "voc")):
            expected = voc_by_hand(objects, detections, label)
            found = curve.average_precision("area"), curve.average_precision("11 points")
            if expected is None:
                assert np.isnan(found).all()
                seen["undefined"] += 1
                continue
            np.testing.assert_allclose(found, [float(each) for each in expected], rtol=0, atol=1e-12)
            seen["zero" if not expected[0] else "one" if expected[0] == 1 else "between"] += 1
    # Every case occurs, and often.
    assert min(seen.values()) >= 20, seen


def test_coco_s_rules_equal_coco_s_tool_on_random_sets():
    thresholds = np.linspace(0.5, 0.95, 10)
    defined = 0
    for seed in range(SETS):
        objects, detections = drawn(seed)
        tool = coco_precision(objects, detections, CLASSES)

        def ours(threshold, objects=objects, detections=detections):
            found = curves(objects, detections, CLASSES, "coco", threshold)
            return [curve.average_precision("101 points") for curve in found]

        np.testing.assert_allclose(ours(0.5), tool.at_50, rtol=0, atol=1e-6)
        np.testing.assert_allclose(ours(0.75), tool.at_75, rtol=0, atol=1e-6)
        if seed % 5 == 0:  # The other thresholds take most of the time.
            mean = np.mean([ours(threshold) for threshold in thresholds], axis=0)
            np.testing.assert_allclose(mean, tool.mean, rtol=0, atol=1e-6)
        defined += np.isfinite(tool.mean).sum()
    assert defined > SETS


def split_of(objects, image_ids, category_ids):
    images = [
        AnnotatedImage(str(image_id), image_id, SIDE, SIDE, each, lambda: np.zeros((SIDE, SIDE, 3), np.uint8))
        for each, image_id in zip(objects, image_ids, strict=True)
    ]
    return AnnotatedSplit("drawn", tuple("abcd"), category_ids, images)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_result_equals_what_coco_s_tool_says_of_our_files(seed, tmp_path):
    """Images by descending id, other ids of categories, and a hundred and more detections of a class in an image."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    objects, detections = drawn(seed)
    random = np.random.default_rng(seed)
    many = [
        Detections.of(drawn_boxes(random, 250), random.integers(0, 9, 250) / 8, random.integers(0, 2, 250))
        for _ in objects
    ]
    detections = [
        Detections.of(
            *(np.concatenate([getattr(each, name) for each in pair]) for name in ("boxes", "scores", "labels"))
        )
        for pair in zip(detections, many, strict=True)
    ]
    image_ids, category_ids = [90 - image for image in range(len(objects))], (18, 3, 90, 1)
    results, annotations = tmp_path / "results.json", tmp_path / "annotations.json"
    write_results(results, detections, image_ids, category_ids)
    rows = [
        {
            "id": 10 * image_id + number,
            "image_id": image_id,
            "category_id": category_ids[there.labels[number]],
            "bbox": [float(left), float(top), float(right - left), float(bottom - top)],
            "area": float((right - left) * (bottom - top)),
            "iscrowd": int(there.difficult[number] or there.crowd[number]),
        }
        for image_id, there in zip(image_ids, objects, strict=True)
        for number, (left, top, right, bottom) in enumerate(there.boxes)
    ]
    annotations.write_text(
        json.dumps(
            {
                "images": [{"id": image_id} for image_id in image_ids],
                "categories": [{"id": each} for each in category_ids],
                "annotations": rows,
            }
        )
    )
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(annotations))
        evaluation = COCOeval(truth, truth.loadRes(str(results)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    read = read_results(results, image_ids, category_ids)
    result = measured(split_of(objects, image_ids, category_ids), read)
    found = [result.mean(name) for name in ("coco", "coco_50", "coco_75")]
    np.testing.assert_allclose(found, 100 * evaluation.stats[:3], rtol=0, atol=1e-9)
    assert 0 < found[0] < 100
    # The limit of a hundred is met, and changes what is counted.
    whole = [curve.right.size for curve in curves(objects, detections, CLASSES, "coco")]
    assert whole[0] < sum((each.labels == 0).sum() for each in detections)


def test_the_tool_is_silent(capfd):
    coco_precision(*drawn(0), CLASSES)
    assert capfd.readouterr() == ("", "")


# Four objects in two images; the detections from the best to the worst are right, a duplicate, right, wrong, right.
BOX, OTHER, FAR = [0, 0, 10, 10], [20, 0, 30, 10], [50, 50, 60, 60]


def test_an_example_that_one_can_work_out():
    objects = [Objects.of([BOX, OTHER], [0, 0]), Objects.of([BOX, OTHER], [0, 0])]
    detections = [
        Detections.of([BOX, BOX, FAR], [0.9, 0.8, 0.6], [0, 0, 0]),
        Detections.of([OTHER, BOX], [0.7, 0.5], [0, 0]),
    ]
    for matching in ("voc", "coco"):
        (curve,) = curves(objects, detections, 1, matching)
        assert curve.objects == 4
        assert curve.right.tolist() == [True, False, True, False, True]
        np.testing.assert_allclose(curve.recall, [1 / 4, 1 / 4, 2 / 4, 2 / 4, 3 / 4])
        np.testing.assert_allclose(curve.precision, [1, 1 / 2, 2 / 3, 2 / 4, 3 / 5])
        np.testing.assert_allclose(curve.interpolated, [1, 2 / 3, 2 / 3, 3 / 5, 3 / 5])
        # Recalls 0, 0.1, 0.2 have 1; 0.3, 0.4, 0.5 have 2/3; 0.6, 0.7 have 3/5; the others have 0.
        assert curve.average_precision("11 points") == pytest.approx((3 + 3 * 2 / 3 + 2 * 3 / 5) / 11)
        assert curve.average_precision("area") == pytest.approx((1 + 2 / 3 + 3 / 5) / 4)
        assert curve.average_precision("101 points") == pytest.approx((26 + 25 * 2 / 3 + 25 * 3 / 5) / 101)


def test_where_the_two_rules_differ():
    """A second detection is nearest to an object that is taken, and a free one is near enough."""
    objects = [Objects.of([[0, 0, 10, 10], [0, 0, 10, 14]], [0, 0])]
    detections = [Detections.of([[0, 0, 10, 10], [0, 0, 10, 11]], [0.9, 0.8], [0, 0])]
    assert curves(objects, detections, 1, "voc")[0].right.tolist() == [True, False]
    assert curves(objects, detections, 1, "coco")[0].right.tolist() == [True, True]


def test_of_equal_overlaps_coco_takes_the_last_object():
    one, other = [0, 0, 10, 10], [4, 0, 14, 10]
    detections = [Detections.of([[2, 0, 12, 10], one], [0.9, 0.8], [0, 0])]
    for boxes, right, share in (([one, other], [True, True], 1), ([other, one], [True, False], 51 / 101)):
        objects = [Objects.of(boxes, [0, 0])]
        assert curves(objects, detections, 1, "coco")[0].right.tolist() == right
        assert coco_precision(objects, detections, 1).at_50 == pytest.approx(share)


def test_difficult_objects_and_crowds_neither_count_nor_harm():
    for difficult, crowd in (([True], [False]), ([False], [True])):
        objects = [Objects.of([BOX], [0], difficult, crowd), Objects.of([OTHER], [0])]
        detections = [Detections.of([BOX, BOX, FAR], [0.9, 0.8, 0.7], [0, 0, 0]), Detections.of([OTHER], [0.6], [0])]
        for matching in ("voc", "coco"):
            (curve,) = curves(objects, detections, 1, matching)
            assert (curve.objects, curve.right.tolist()) == (1, [False, True])
    # A part of a crowd is passed over by COCO's rule, and by VOC's it is wrong.
    objects, detections = [Objects.of([BOX], [0], crowd=[True])], [Detections.of([[0, 0, 2, 2]], [0.5], [0])]
    assert curves(objects, detections, 1, "coco")[0].right.tolist() == []
    assert curves(objects, detections, 1, "voc")[0].right.tolist() == [False]


def test_an_overlap_at_the_threshold_is_enough():
    objects = [Objects.of([[0, 0, 10, 1]], [0])]
    for width, right in ((5, True), (4, False)):
        detections = [Detections.of([[0, 0, width, 1]], [0.5], [0])]
        for matching in ("voc", "coco"):
            assert curves(objects, detections, 1, matching)[0].right.tolist() == [right]
    assert curves(objects, [Detections.of([[0, 0, 3, 1]], [0.5], [0])], 1, "voc", 0.3)[0].right.tolist() == [True]


def test_a_recall_of_three_tenths_is_reached_by_three_of_ten():
    objects = [Objects.of([[20 * n, 0, 20 * n + 10, 10] for n in range(10)], [0] * 10)]
    detections = [Detections.of(objects[0].boxes[:3], [0.9, 0.8, 0.7], [0, 0, 0])]
    assert curves(objects, detections, 1, "voc")[0].average_precision("11 points") == pytest.approx(4 / 11)


def test_scores_of_any_sign_and_beside_the_image():
    objects = [Objects.of([BOX], [0])]
    detections = [Detections.of([[-500, -500, -400, -400], BOX, [5, 5, 5, 5]], [-1, -2, -3], [0, 0, 0])]
    for matching in ("voc", "coco"):
        assert curves(objects, detections, 1, matching)[0].right.tolist() == [False, True, False]


def test_nothing_found_and_nothing_there():
    none = Objects.of([], [])
    for objects, detections, expected in (
        ([Objects.of([BOX], [0])], [Detections.none()], [0, np.nan]),
        ([none], [Detections.of([BOX], [0.5], [1])], [np.nan, np.nan]),
        ([none], [Detections.none()], [np.nan, np.nan]),
        ([], [], [np.nan, np.nan]),
        (
            [none, Objects.of([BOX], [1])],
            [Detections.of([BOX], [0.9], [1]), Detections.of([BOX], [0.5], [1])],
            [np.nan, 0.5],
        ),
    ):
        result = measured(split_of(objects, range(len(objects)), (1, 2, 3, 4)), detections)
        for name in FIGURES:
            share = np.array([*expected, np.nan, np.nan])
            np.testing.assert_allclose(result.average_precisions[name], 100 * share)
            defined = share[np.isfinite(share)]
            np.testing.assert_allclose(result.mean(name), 100 * defined.mean() if len(defined) else np.nan)


def test_the_result_is_the_same_in_any_order_of_images():
    for seed in range(10):
        objects, detections = drawn(seed)
        order = np.random.default_rng(seed).permutation(len(objects))
        one = measured(split_of(objects, range(len(objects)), (1, 2, 3, 4)), detections)
        images = [objects[each] for each in order], order.tolist()
        other = measured(split_of(*images, (1, 2, 3, 4)), [detections[each] for each in order])
        for name in FIGURES:
            np.testing.assert_array_equal(one.average_precisions[name], other.average_precisions[name])


@pytest.mark.parametrize(
    ("objects", "detections", "said"),
    [
        ([Objects.of([], [])], [], "detections of 0 images, and 1 images"),
        ([Objects.of([], [])], [Detections.of([BOX], [0.5], [2])], "the detections include the label 2: labels of 2"),
        ([Objects.of([BOX], [3])], [Detections.none()], "the objects include the label 3: labels of 2"),
    ],
    ids=["lengths", "detected label", "annotated label"],
)
def test_what_does_not_fit_is_refused(objects, detections, said):
    for measure in (lambda: curves(objects, detections, 2, "voc"), lambda: coco_precision(objects, detections, 2)):
        with pytest.raises(UserError, match=said):
            measure()


def test_an_impossible_threshold_is_refused():
    for threshold in (0, 1.5, float("nan")):
        with pytest.raises(UserError, match="above 0 and at most 1"):
            curves([], [], 1, "voc", threshold)
