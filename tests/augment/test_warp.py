from pathlib import Path

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxcnn.augment import warp as module
from jaxcnn.config import ConfigError

inverse_affine = jax.jit(module.inverse_affine)
inverse_perspective = jax.jit(module.inverse_perspective, static_argnames=("height", "width"))
warp = jax.jit(module.warp, static_argnames=("interpolation", "fill"))
GOLDEN = np.load(Path(__file__).parent.parent / "golden" / "augment_geometric.npz")
IMAGES, FILL = GOLDEN["images"], (9, 100, 200)
NAMES = ("angle", "translate_x", "translate_y", "scale", "shear_x", "shear_y")
PARAMETERS = dict(zip(NAMES, GOLDEN["parameters"].T, strict=True))
MODES = ("nearest", "bilinear")


def assert_at_most_one_level_apart(found, expected, share):
    """And in at most this share of the levels."""
    assert found.dtype == np.uint8
    difference = np.abs(np.asarray(found, np.int32) - expected)
    assert difference.max() <= 1
    assert (difference > 0).mean() <= share


@pytest.mark.parametrize("mode", MODES)
def test_affine_is_torchvisions(mode):
    matrices = inverse_affine(**PARAMETERS)
    assert matrices.shape == (9, 2, 3)
    warped = warp(IMAGES, matrices, interpolation=mode, fill=FILL)
    # Equal to the bit on the machine that made the file; a point halfway, or a level, may round otherwise elsewhere.
    assert_at_most_one_level_apart(warped, GOLDEN[f"affine_{mode}"], 0.001)
    grey = warp(IMAGES[..., :1], matrices, interpolation=mode)
    assert_at_most_one_level_apart(grey, GOLDEN[f"affine_grey_{mode}"], 0.001)
    corner = inverse_affine(**PARAMETERS, center_x=-23 / 2, center_y=-17 / 2)
    turned = warp(IMAGES, corner, interpolation=mode)
    assert_at_most_one_level_apart(turned, GOLDEN[f"affine_corner_{mode}"], 0.001)


def test_rotation_is_torchvisions_the_other_way():
    turned = warp(IMAGES, inverse_affine(angle=-PARAMETERS["angle"]), interpolation="nearest")
    assert_at_most_one_level_apart(turned, GOLDEN["rotate"], 0.0)


@pytest.mark.parametrize("mode", MODES)
def test_perspective_is_torchvisions(mode):
    warped = warp(IMAGES, inverse_perspective(GOLDEN["endpoints"], 17, 23), interpolation=mode, fill=FILL)
    if mode == "bilinear":
        assert_at_most_one_level_apart(warped, GOLDEN["perspective_bilinear"], 0.001)
    else:  # one point lies exactly halfway between two pixels
        assert (warped != GOLDEN["perspective_nearest"]).any(-1).sum() <= 1


@pytest.mark.parametrize("mode", MODES)
def test_no_warp_changes_nothing(mode):
    still = np.broadcast_to(inverse_affine(), (9, 2, 3))
    np.testing.assert_array_equal(warp(IMAGES, still, interpolation=mode, fill=FILL), IMAGES)
    corners = np.broadcast_to([[0, 0], [22, 0], [22, 16], [0, 16]], (9, 4, 2))
    projected = warp(IMAGES, inverse_perspective(corners, 17, 23), interpolation=mode, fill=FILL)
    np.testing.assert_array_equal(projected, IMAGES)


@settings(max_examples=20, deadline=None)
@given(st.integers(-30, 30), st.integers(-20, 20), st.sampled_from(MODES))
def test_whole_pixels_move_exactly(x, y, mode):
    matrices = np.broadcast_to(inverse_affine(translate_x=float(x), translate_y=float(y)), (9, 2, 3))
    padded = np.pad(IMAGES, ((0, 0), (40, 40), (40, 40), (0, 0)), constant_values=7)
    expected = padded[:, 40 - y : 57 - y, 40 - x : 63 - x]
    np.testing.assert_array_equal(warp(IMAGES, matrices, interpolation=mode, fill=(7,)), expected)


@settings(max_examples=20, deadline=None)
@given(st.floats(-180, 180), st.floats(0.5, 2), st.floats(-40, 40), st.floats(-40, 40), st.floats(-9, 9))
def test_an_affine_map_is_shears_then_scale_rotation_and_translation(angle, scale, shear_x, shear_y, x):
    found = inverse_affine(angle=angle, scale=scale, shear_x=shear_x, shear_y=shear_y, translate_x=x)
    radians, tangent_x, tangent_y = np.deg2rad(angle), np.tan(np.deg2rad(shear_x)), np.tan(np.deg2rad(shear_y))
    rotation = [[np.cos(radians), -np.sin(radians)], [np.sin(radians), np.cos(radians)]]
    expected = scale * np.array(rotation) @ [[1, 0], [-tangent_y, 1]] @ [[1, -tangent_x], [0, 1]]
    forward = np.linalg.inv(np.concatenate([found, [[0, 0, 1]]]))
    np.testing.assert_allclose(forward, [[*expected[0], x], [*expected[1], 0], [0, 0, 1]], atol=1e-4)


def test_corners_go_where_they_are_told():
    endpoints = GOLDEN["endpoints"][1:]
    matrices = np.asarray(inverse_perspective(endpoints, 17, 23))
    middle = np.array([11.5, 8.5])
    points = np.concatenate([endpoints - middle, np.ones((8, 4, 1))], axis=2)
    found = np.einsum("bij,bpj->bpi", matrices, points)
    corners = np.broadcast_to(np.array([[0, 0], [22, 0], [22, 16], [0, 16]]), (8, 4, 2))
    np.testing.assert_allclose(found[..., :2] / found[..., 2:] + middle, corners, atol=1e-3)


def test_a_warp_does_not_depend_on_its_batch():
    matrices = inverse_affine(**PARAMETERS)
    whole = warp(IMAGES, matrices, interpolation="bilinear")
    alone = warp(IMAGES[4:5], matrices[4:5], interpolation="bilinear")
    np.testing.assert_array_equal(alone[0], whole[4])


def test_a_fill_of_other_channels_is_refused():
    with pytest.raises(ConfigError, match="fill has 2 levels, and images have 3 channels: give one for each channel"):
        warp(IMAGES, inverse_affine(**PARAMETERS), interpolation="nearest", fill=(1, 2))
