"""Submission files made by hand."""

import numpy as np
import pytest
import scipy.io

from jaxcnn.errors import UserError
from jaxcnn.evaluation.predictions import Predictions
from jaxcnn.evaluation.submission import read_class_numbers, score_submission, write_submission


@pytest.fixture
def files(tmp_path):
    def write(**contents):
        for name, content in contents.items():
            (tmp_path / name).write_text(content)
        return [tmp_path / name for name in contents]

    return write


def test_a_hand_made_submission_is_scored(files):
    submission, truth, left_out = files(
        submission="1 2 3 4 5\n2 1 3 4 5\n6 5 4 3 2\n3\n", truth="1\n1\n1\n3\n", left_out="3\n"
    )
    assert score_submission(submission, truth, 6) == (4, {1: 50.0, 5: 25.0})
    assert score_submission(submission, truth, 6, left_out) == (3, {1: pytest.approx(100 / 3), 5: 0.0})


def test_what_is_written_is_in_the_official_order_and_scored_alike(tmp_path, files):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 9, 40).astype(np.int32)
    predictions = Predictions(rng.standard_normal((40, 9)).astype(np.float32), labels, np.ones(40, bool))
    image_numbers, class_numbers = rng.permutation(40) + 1, rng.permutation(9) + 1
    write_submission(tmp_path / "submission", predictions, image_numbers, class_numbers)
    lines = (tmp_path / "submission").read_text().splitlines()
    for image in (0, 17, 39):
        best = sorted(range(9), key=lambda label, image=image: -predictions.scores[image, label])[:5]
        assert lines[image_numbers[image] - 1] == " ".join(str(class_numbers[label]) for label in best)
    official = {number: class_numbers[label] for number, label in zip(image_numbers, labels, strict=True)}
    (truth,) = files(truth="".join(f"{official[number]}\n" for number in range(1, 41)))
    images, errors = score_submission(tmp_path / "submission", truth, 9)
    assert (images, errors) == (40, predictions.result((1, 5)).errors)


def test_a_submission_is_of_every_image_and_replaces_no_file(tmp_path):
    scores, labels = np.eye(6, dtype=np.float32)[:2], np.zeros(2, np.int32)
    numbers = np.array([1, 2]), np.arange(1, 7)
    with pytest.raises(UserError, match="1 images cannot be read, so they have no answer"):
        write_submission(tmp_path / "s", Predictions(scores, labels, np.array([True, False])), *numbers)
    whole = Predictions(scores, labels, np.array([True, True]))
    write_submission(tmp_path / "s", whole, *numbers)
    assert (tmp_path / "s").read_text() == "1 2 3 4 5\n2 1 3 4 5\n"
    with pytest.raises(UserError, match="already: remove it, or give another path"):
        write_submission(tmp_path / "s", whole, *numbers)
    with pytest.raises(UserError, match=r"no/s cannot be written: No such file"):
        write_submission(tmp_path / "no" / "s", whole, *numbers)


@pytest.mark.parametrize(
    ("submission", "truth", "left_out", "sentence"),
    [
        ("1 2\n", "1\n2\n", "1\n", r"has 1 lines, and .*truth 2: both must have a line for each image"),
        ("1 2\n\n", "1\n2\n", "1\n", r"has 1 lines, and .*truth 2"),
        ("1 2\n\n1\n", "1\n2\n1\n", "1\n", r"line 2 of the submission .* holds '', not labels that count from 1"),
        ("1\n0\n", "1\n2\n", "1\n", r"line 2 of the submission .* holds '0', not labels"),
        ("1\n-1\n", "1\n2\n", "1\n", r"line 2 of the submission .* holds '-1', not labels"),
        ("1,2\n2\n", "1\n2\n", "1\n", r"line 1 of the submission .* holds '1,2', not labels"),
        ("1 2 3 4 5 6\n2\n", "1\n6\n", "1\n", r"line 1 of the submission .* holds 6 labels, and may hold 5"),
        ("1 1\n2\n", "1\n2\n", "1\n", r"line 1 of the submission .* names a label twice: \[1, 1\]"),
        ("1\n7\n", "1\n2\n", "1\n", r"line 2 of the submission .* names label 7, and there are 6 classes"),
        ("1\n6\n", "1\n7\n", "1\n", r"the ground truth .* names label 7, and there are 6 classes"),
        ("1\n2\n", "1\n2 2\n", "1\n", r"line 2 of the ground truth .* holds 2 numbers, and must hold one"),
        ("1\n2\n", "1\n2\n", "3\n", r"left_out leaves out image 3, and .*truth has 2"),
        ("1\n2\n", "1\n2\n", "2\n1\n", r"left_out leaves out every image"),
        ("\n", "1\n", "1\n", r"line 1 of the submission .* holds ''"),
    ],
)
def test_mistakes_are_named(files, submission, truth, left_out, sentence):
    paths = files(submission=submission, truth=truth, left_out=left_out)
    with pytest.raises(UserError, match=sentence):
        score_submission(*paths[:2], 6, paths[2])


def test_files_that_are_not_there_or_not_text(files, tmp_path):
    (truth,) = files(truth="1\n")
    with pytest.raises(UserError, match=r"the submission .*nope cannot be read: No such file"):
        score_submission(tmp_path / "nope", truth, 3)
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"the submission .*binary cannot be read: 'utf-8' codec"):
        score_submission(tmp_path / "binary", truth, 3)


def test_class_numbers(files):
    (numbers,) = files(numbers="2\n3\n1\n")
    np.testing.assert_array_equal(read_class_numbers(numbers, 3), [2, 3, 1])
    with pytest.raises(UserError, match="must be 1 to 4, each once, a line for each class"):
        read_class_numbers(numbers, 4)


def kit(path, rows):
    """As the development kit's meta.mat: classes first, then the synsets above them."""
    fields = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("num_children", "O"), ("children", "O")]
    synsets = np.array([(number, name, "word, word", children, []) for number, name, children in rows], fields)
    scipy.io.savemat(path, {"synsets": synsets[:, None]})
    return path


def test_class_numbers_of_the_development_kit(tmp_path):
    rows = [(1, "n02119789", 0), (2, "n02100735", 0), (3, "n02110185", 0), (4, "n00001740", 2), (5, "n00001930", 1)]
    meta = kit(tmp_path / "meta.mat", rows)
    ids = ("n02100735", "n02110185", "n02119789")
    np.testing.assert_array_equal(read_class_numbers(meta, 3, ids), [2, 3, 1])
    with pytest.raises(
        UserError, match="have WordNet numbers, and the network's are not known by them: give its class"
    ):
        read_class_numbers(meta, 3)
    with pytest.raises(UserError, match=r"meta.mat has no number for the class 'n00001740', which the network has"):
        read_class_numbers(meta, 3, (*ids[:2], "n00001740"))
    with pytest.raises(UserError, match="must be 1 to 2, each once"):
        read_class_numbers(meta, 2, ids[:2])
    one = kit(tmp_path / "one.mat", rows[:1])
    np.testing.assert_array_equal(read_class_numbers(one, 1, ids[2:]), [1])


def test_files_that_are_no_development_kit(tmp_path):
    with pytest.raises(UserError, match=r"the class numbers .*nope.mat cannot be read: No such file"):
        read_class_numbers(tmp_path / "nope.mat", 3, ("n02100735",))
    scipy.io.savemat(tmp_path / "other.mat", {"a": np.eye(3)})
    scipy.io.savemat(tmp_path / "fields.mat", {"synsets": np.array([(1,)], [("number", "O")])})
    whole = kit(tmp_path / "whole.mat", [(1, "n02119789", 0)]).read_bytes()
    (tmp_path / "half.mat").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.mat").write_text("1\n2\n3\n")
    for name in ("other", "fields", "half", "text"):
        with pytest.raises(UserError, match=rf"{name}.mat are not the meta.mat of ILSVRC's development kit"):
            read_class_numbers(tmp_path / f"{name}.mat", 3, ("n02100735",))
