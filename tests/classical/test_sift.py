"""Dense SIFT, the pyramid, and what of them a user can ask for in vain."""

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from jaxcnn.classical.pyramid import cells_of
from jaxcnn.classical.sift import EXTRA, Grid, with_bins
from jaxcnn.config.baselines import DenseSIFT
from jaxcnn.errors import UserError
from jaxcnn.opencv import import_opencv, opencv_without_threads

cv2 = pytest.importorskip("cv2")
SIFT = DenseSIFT(step=4, bins=(2.0, 3.0))


def image(seed, size=32):
    noise = np.random.RandomState(seed).randint(0, 256, (size // 4, size // 4)).astype(np.uint8)
    return cv2.resize(noise, (size, size), interpolation=cv2.INTER_CUBIC)


def test_patches_lie_within_the_image_and_in_its_middle():
    grid = Grid(DenseSIFT(step=5, bins=(3.0,)), 32)
    x = np.unique(grid.positions[:, 0]) * 32 - 0.5
    assert np.allclose(np.diff(x), 5)
    assert x.min() - 6 >= -0.5
    assert x.max() + 6 <= 31.5
    assert abs((x.min() - 6 + 0.5) - (31.5 - x.max() - 6)) <= 1
    assert len(grid) == len(x) ** 2
    whole = Grid(DenseSIFT(step=1, bins=(8.0,)), 32)
    assert np.allclose(whole.positions * 32 - 0.5, [[16, 16]])


def test_descriptors_are_upright_and_of_the_patch_alone():
    """A patch that is turned by a right angle has the descriptor of which bins and directions are permuted."""
    grid = Grid(DenseSIFT(step=1, bins=(4.0,), smoothing=0.25), 33)
    (middle,) = np.flatnonzero((np.abs(grid.positions * 33 - 0.5 - 16) < 0.5).all(1))
    picture = image(0, 36)[:33, :33].copy()
    upright = grid.describe(picture)[middle].reshape(4, 4, 8).astype(int)
    turned = grid.describe(np.rot90(picture).copy())[middle].reshape(4, 4, 8).astype(int)
    again = np.rot90(upright, axes=(0, 1))
    shifts = [np.abs(np.roll(again, shift, axis=2) - turned).max() for shift in (2, -2)]
    assert min(shifts) <= 6  # the Gaussian of an even number of bins, and OpenCV's steps of 1/512
    assert max(shifts) > 50


def test_flat_patches_are_zeros_and_others_are_of_opencvs_length():
    half = image(1)
    half[:, :16] = 90
    grid = Grid(SIFT, 32)
    found = grid.describe(half)
    assert found.shape == (len(grid), 128)
    assert found.dtype == np.uint8
    flat = ~found.any(1)
    assert 0 < flat.sum() < len(grid)
    assert (grid.positions[flat, 0] < 0.5).all()
    lengths = np.linalg.norm(found[~flat].astype(float), axis=1)
    assert np.allclose(lengths, 512, rtol=0.03)
    assert not grid.describe(np.full((32, 32, 1), 7, np.uint8)).any()


def test_the_same_bits_in_any_number_of_threads():
    grid, images = Grid(SIFT, 32), [image(seed) for seed in range(12)]
    expected = [grid.describe(each) for each in images]
    before = cv2.getNumThreads()
    with opencv_without_threads(*EXTRA):
        assert cv2.getNumThreads() == 1
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(grid.describe, images))
    assert cv2.getNumThreads() == before
    assert all(np.array_equal(one, other) for one, other in zip(expected, found, strict=True))


def test_the_size_of_the_images_chooses_what_is_left_open():
    assert with_bins(DenseSIFT(), 32).bins == (2, 3, 4)
    assert with_bins(DenseSIFT(), 224).bins == (4, 6, 8, 10)
    assert (with_bins(DenseSIFT(), 32).step, with_bins(DenseSIFT(), 224).step) == (2, 4)
    given = DenseSIFT(step=7, bins=(1.5,), smoothing=0.3, square_root=False)
    assert with_bins(given, 224) == given
    with pytest.raises(UserError, match=r"^a patch of 4 x 4 bins of 10 pixels does not fit into images of 32 x 32"):
        with_bins(DenseSIFT(bins=(10.0,)), 32)


def test_opencv_is_an_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(UserError, match=r"^dense SIFT needs OpenCV, which is not installed: install the extra class"):
        import_opencv(*EXTRA)


def test_each_point_is_in_one_cell_of_each_level():
    positions = np.random.RandomState(0).rand(200, 2)
    positions[:4] = [[0, 0], [1, 1], [0.5, 0.5], [0.999, 0]]
    cells = cells_of(positions, [(1, 1), (3, 1), (2, 2)])
    assert cells.shape == (8, 200)
    assert (cells[0].all(), (cells[1:4].sum(0) == 1).all(), (cells[4:].sum(0) == 1).all()) == (True, True, True)
    right_above = (positions[:, 0] >= 0.5) & (positions[:, 1] < 0.5)
    assert np.array_equal(cells[5], right_above)
    assert np.array_equal(cells[2], (positions[:, 1] >= 1 / 3) & (positions[:, 1] < 2 / 3))
