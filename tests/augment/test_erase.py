import jax
import numpy as np
import pytest

from jaxcnn.augment import erase

random_erasing = jax.jit(erase.random_erasing, static_argnames=("probability", "scale", "ratio", "value"))
cutout = jax.jit(erase.cutout, static_argnames=("length", "holes"))
COUNT, HEIGHT, WIDTH = 1000, 30, 40
IMAGES = np.full((COUNT, HEIGHT, WIDTH, 2), 9, np.float32)
KEYS = jax.random.split(jax.random.key(0), COUNT)
OPTIONS = {"probability": 1.0, "scale": (0.02, 0.33), "ratio": (0.3, 3.3), "value": 0.0}


def box_of(hidden):
    """Top, left, height and width of what is hidden in each image, which must be one whole box."""
    rows, columns = hidden.any(2), hidden.any(1)
    sides = [rows.sum(1), columns.sum(1)]
    assert (hidden.sum((1, 2)) == sides[0] * sides[1]).all()
    starts = [line.argmax(1) for line in (rows, columns)]
    for line, start, side in zip((rows, columns), starts, sides, strict=True):
        assert (
            line == ((index := np.arange(line.shape[1])) >= start[:, None]) & (index < (start + side)[:, None])
        ).all()
    return *starts, *sides


def test_one_box_of_the_area_and_ratio_asked_for_anywhere():
    erased = np.asarray(random_erasing(KEYS, IMAGES, **OPTIONS))
    hidden = (erased == 0).all(-1)
    assert ((erased == 9).all(-1) | hidden).all()
    assert hidden.any((1, 2)).mean() > 0.99
    top, left, height, width = box_of(hidden[hidden.any((1, 2))])
    # Sides are rounded to whole pixels.
    assert ((height + 0.5) * (width + 0.5) >= 0.02 * HEIGHT * WIDTH).all()
    assert ((height - 0.5) * (width - 0.5) <= 0.33 * HEIGHT * WIDTH).all()
    assert ((height + 0.5) / (width - 0.5) >= 0.3).all()
    assert ((height - 0.5) / (width + 0.5) <= 3.3).all()
    share = height * width / (HEIGHT * WIDTH)
    assert share.min() < 0.03
    assert share.max() > 0.31
    # Boxes too large for the image are drawn again, so the means are a little less than the middle of the ranges.
    assert 0.15 < share.mean() < 0.175
    for start, side, length in ((top, height, HEIGHT), (left, width, WIDTH)):
        assert (start / (length - side)).mean() == pytest.approx(0.5, abs=0.04)
        assert (start == 0).any()
        assert (start == length - side).any()


def test_the_ratio_is_log_uniform_and_of_height_over_width():
    hidden = np.asarray(random_erasing(KEYS, IMAGES, **OPTIONS | {"scale": (0.1, 0.1), "ratio": (0.5, 4.0)}) == 0)
    _, _, height, width = box_of(hidden.all(-1))
    ratio = np.log(height / width)
    assert ratio.mean() == pytest.approx(np.log(2.0) / 2, abs=0.06)
    assert ratio.std() == pytest.approx(np.log(8.0) / np.sqrt(12), rel=0.1)


def test_what_is_put_there():
    color = np.asarray(random_erasing(KEYS, IMAGES, **OPTIONS | {"value": "color"}))
    changed = [image[(image != 9).all(-1)] for image in color]
    drawn = np.array([pixels[0] for pixels in changed if len(pixels)])
    assert all((pixels == pixels[:1]).all() for pixels in changed)
    noise = np.asarray(random_erasing(KEYS[:300], IMAGES[:300], **OPTIONS | {"value": "pixels"}))
    for sample, error in ((drawn, 0.1), (noise[(noise != 9).all(-1)], 0.03)):
        assert len(np.unique(sample)) > 0.9 * sample.size
        np.testing.assert_allclose(sample.mean(0), 0, atol=error)
        np.testing.assert_allclose(sample.std(0), 1, atol=error)
        assert abs(np.corrcoef(sample.T)[0, 1]) < error
    constant = np.asarray(random_erasing(KEYS[:9], IMAGES[:9], **OPTIONS | {"value": 2.5}))
    assert set(np.unique(constant)) == {2.5, 9}


def test_images_are_left_alone_as_often_as_asked_and_where_no_box_fits():
    erased = np.asarray(random_erasing(KEYS, IMAGES, **OPTIONS | {"probability": 0.25}))
    assert 0.21 < (erased == 0).any((1, 2, 3)).mean() < 0.29
    for options in ({"probability": 0.0}, {"scale": (1.0, 1.0)}):
        np.testing.assert_array_equal(random_erasing(KEYS[:9], IMAGES[:9], **OPTIONS | options), IMAGES[:9])


@pytest.mark.parametrize("length", [6, 7])
def test_cutout_is_a_square_cut_off_at_the_border(length):
    hidden = np.asarray(cutout(KEYS, IMAGES, length=length, holes=1) == 0).all(-1)
    top, left, height, width = box_of(hidden)
    before, after = length // 2, length - length // 2
    for start, side, size in ((top, height, HEIGHT), (left, width, WIDTH)):
        assert (side[(start > 0) & (start + side < size)] == length).all()
        assert side.min() == after  # its middle is in the first or the last row or column
        middle = np.where(start > 0, start + before, side - after)
        counts = np.bincount(middle, minlength=size)
        assert len(counts) == size
        assert counts.min() > 0.4 * COUNT / size
        assert counts.max() < 2 * COUNT / size


def test_cutouts_may_be_several():
    one, two = ((np.asarray(cutout(KEYS, IMAGES, length=8, holes=holes)) == 0).mean() for holes in (1, 2))
    assert 1.7 * one < two < 2 * one
