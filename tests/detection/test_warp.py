"""Warped regions are what a slow loop and Pillow, box by box, make of them."""

import functools

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxcnn.augment.compose import normalize
from jaxcnn.config import Normalization
from jaxcnn.detection.warp import canvases, check_context, outside, warped
from jaxcnn.devices.parallel import DataParallel
from jaxcnn.errors import UserError

FILL = (123.5, 116.25, 104.0)
RNG = np.random.RandomState(0)
IMAGES = [RNG.randint(256, size=(*shape, 3)).astype(np.uint8) for shape in ((17, 23), (9, 31), (1, 1))]
PICTURES = canvases(IMAGES)


@functools.partial(jax.jit, static_argnames=("size", "context", "fill"))
def jitted(pictures, which, boxes, size, context, fill=FILL):
    return warped(pictures, which, boxes, size=size, context=context, fill=fill)


def slow(image, box, size, context, fill=FILL):
    """One region, pixel by pixel, in float64."""
    height, width, channels = image.shape
    left, top, right, bottom = map(float, np.float32(box))
    out = np.empty((size, size, channels))
    for row in range(size):
        for column in range(size):
            y = top + (bottom - top) * (row + 0.5 - context) / (size - 2 * context)
            x = left + (right - left) * (column + 0.5 - context) / (size - 2 * context)
            if not (0 <= y < height and 0 <= x < width):
                out[row, column] = fill
                continue
            total = np.zeros(channels)
            for j in (int(np.floor(y - 0.5)), int(np.floor(y - 0.5)) + 1):
                for i in (int(np.floor(x - 0.5)), int(np.floor(x - 0.5)) + 1):
                    weight = (1 - abs(y - 0.5 - j)) * (1 - abs(x - 0.5 - i))
                    total += weight * image[min(max(j, 0), height - 1), min(max(i, 0), width - 1)]
            out[row, column] = total
    return out


# A sixteenth of a pixel, so that no point lies on a border by rounding alone.
coordinate = st.integers(-320, 640).map(lambda number: number / 16 + 1 / 64)


@hypothesis.given(
    st.lists(st.tuples(st.integers(0, 2), coordinate, coordinate, coordinate, coordinate), min_size=4, max_size=4)
)
@hypothesis.settings(max_examples=25, deadline=None)
def test_a_region_is_what_a_slow_loop_makes_of_it(drawn):
    which = np.array([each[0] for each in drawn], np.int32)
    corners = np.array([each[1:] for each in drawn], np.float32)
    boxes = np.concatenate([np.minimum(corners[:, :2], corners[:, 2:]), np.maximum(corners[:, :2], corners[:, 2:])], 1)
    found = np.asarray(jitted(PICTURES, which, boxes, 8, 1))
    for index, image in enumerate(which):
        expected = slow(IMAGES[image], boxes[index], 8, 1)
        # Where a point lies on the picture's border but for rounding, both the picture and what lies beyond are right.
        near = np.abs(found[index] - expected).max(-1) > 1e-2
        assert near.mean() <= 0.125, (boxes[index], found[index] - expected)


def test_a_region_is_what_pillow_crops():
    image, size, context = IMAGES[0], 16, 3
    boxes = np.array([[3, 2, 19, 12], [-4.5, -3, 6, 25], [10.25, 3.5, 12.75, 15.25], [0, 0, 23, 17]], np.float32)
    found = np.asarray(jitted(PICTURES, np.zeros(4, np.int32), boxes, size, context, (124.0, 116.0, 104.0)))
    for box, region in zip(boxes, found, strict=True):
        (left, top), (across, down) = box[:2], (box[2:] - box[:2]) / (size - 2 * context)
        matrix = (across, 0, left - context * across, 0, down, top - context * down)
        cropped = Image.fromarray(image).transform(
            (size, size), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=(124, 116, 104)
        )
        np.testing.assert_allclose(region, np.asarray(cropped), atol=1.01)  # Pillow rounds down


def test_the_whole_picture_without_context_at_its_own_size_is_the_picture():
    square = RNG.randint(256, size=(12, 12, 3)).astype(np.uint8)
    found = jitted(canvases([square], (20, 15)), jnp.zeros(1, int), jnp.array([[0.0, 0, 12, 12]]), 12, 0)
    np.testing.assert_allclose(found[0], square, atol=1e-4)  # XLA may round on the way


def test_context_is_what_surrounds_the_box():
    image = np.arange(40 * 40, dtype=np.float32).reshape(40, 40, 1) / 10
    pictures = canvases([image.astype(np.uint8)])
    which, boxes = jnp.zeros(1, int), jnp.array([[10.0, 12, 18, 20]])
    found = jitted(pictures, which, boxes, 12, 2, (0.0,))
    np.testing.assert_array_equal(found[0], image.astype(np.uint8)[10:22, 8:20])
    np.testing.assert_array_equal(found[:, 2:-2, 2:-2], jitted(pictures, which, boxes, 8, 0, (0.0,)))


def test_what_is_beyond_the_picture_is_zero_after_normalization():
    for normalization, channels in ((Normalization(), 3), (Normalization(mean=(0.1307,), std=(0.3081,)), 1)):
        fill = outside(normalization, channels)
        pictures = canvases([IMAGES[0][:, :, :channels]])
        boxes = jnp.array([[-50.0, -50, -40, -40], [23, 17, 40, 30], [0, -50, 23, -1]])
        found = normalize(jitted(pictures, jnp.zeros(3, int), boxes, 8, 0, fill), normalization)
        np.testing.assert_allclose(found, 0, atol=1e-6)
    assert outside(Normalization(mean=(0.5,), std=(1.0,)), 3) == (127.5,) * 3


def test_boxes_without_width_or_height_are_a_line_and_a_point():
    image = IMAGES[0]
    boxes = jnp.array([[4.5, 2, 4.5, 10], [4.5, 2.5, 4.5, 2.5], [30, 30, 30, 30.0]])
    found = np.asarray(jitted(PICTURES, jnp.zeros(3, int), boxes, 8, 0))
    np.testing.assert_array_equal(found[0], np.repeat(image[2:10, 4:5], 8, axis=1))
    np.testing.assert_array_equal(found[1], np.broadcast_to(image[2, 4], (8, 8, 3)))
    np.testing.assert_array_equal(found[2], np.broadcast_to(np.float32(FILL), (8, 8, 3)))


def test_a_region_does_not_depend_on_the_canvas_or_on_other_regions():
    boxes = np.array([[2.3, 1.1, 20, 9], [-3, 4, 8, 8.8]], np.float32)
    together = np.asarray(jitted(PICTURES, np.array([0, 1]), boxes, 8, 1))
    for index in range(2):
        alone = jitted(canvases([IMAGES[index]], (64, 40)), np.zeros(1, int), boxes[index : index + 1], 8, 1)
        np.testing.assert_allclose(together[index], alone[0], atol=1e-2)


def test_pairs_of_images_and_boxes_may_be_split_over_devices():
    """As in a step of fine-tuning: the images are on every device."""
    parallel, rng = DataParallel.over_all_devices(), np.random.RandomState(0)
    which, corners = rng.randint(3, size=16).astype(np.int32), rng.uniform(-2, 20, (16, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(1, 9, (16, 2))], axis=1).astype(np.float32)
    found = jitted(parallel.put_everywhere(PICTURES), *parallel.put_batch((which, boxes)), 8, 1)
    assert found.sharding.is_equivalent_to(parallel.split, 4)
    np.testing.assert_array_equal(found, jitted(PICTURES, which, boxes, 8, 1))


def test_a_context_without_room_for_the_box_is_refused():
    check_context(227, 16)
    with pytest.raises(UserError, match=r"16 pixels .* nothing of a region of 28 .* give one from 0 to 13"):
        check_context(28, 16)
    with pytest.raises(UserError, match="give one from 0 to 13"):
        check_context(28, -1)
