"""What the benchmark of detection compares is the same thing done in two ways."""

import functools

import jax
import numpy as np
import pytest

from jaxcnn.benchmarks.networks import untrained
from jaxcnn.benchmarks.proposals import crop, photograph, time_proposals
from jaxcnn.benchmarks.windows import compare_windows
from jaxcnn.config.proposals import ProposalsConfig
from jaxcnn.data.decode import with_channels
from jaxcnn.detection.warp import canvases, warped


@pytest.mark.parametrize("box", [(20, 30, 84, 94), (0, 0, 40, 90), (60, 10, 96, 96)])
def test_a_crop_on_the_host_sees_what_the_warp_sees(box):
    # A ramp, which looks the same whether it is averaged or interpolated.
    y, x = np.mgrid[:96, :96]
    pixels = np.stack([2 * x, 2 * y, x + y], -1).astype(np.uint8)
    found = crop(pixels, np.array(box, np.float32), 48, 8, (0.0, 0.0, 255.0)).astype(float)
    boxes = np.array([box], np.float32)
    warp = jax.jit(functools.partial(warped, size=48, context=8, fill=(0.0, 0.0, 255.0)))
    (expected,) = warp(canvases([pixels]), np.zeros(1, np.int32), boxes)
    difference = abs(found - np.asarray(expected))
    # Whole pixels are a little beside the box, and the picture's border may be one pixel further.
    assert np.median(difference) <= 2
    assert (difference > 8).mean() < 0.1


@pytest.mark.slow
def test_all_parts_are_timed():
    network, pixels = untrained("lenet"), photograph()[:120, :160]
    pytest.importorskip("cv2.ximgproc")
    found = time_proposals(network, pixels, ProposalsConfig(), context=4, count=10, at_once=4, rounds=1)
    assert found.count == 10
    assert len(found.seconds) == 6
    assert min(found.seconds.values()) > 0


@pytest.mark.slow
def test_windows_are_those_of_one_scale():
    network = untrained("lenet")
    found = compare_windows(network, with_channels(photograph()[:66, :88], 1), at_once=50, rounds=1)
    assert found.shape == (64, 88)
    assert found.windows == 9 * 15
    assert found.seconds.keys() == {"one pass", "crops"}
    assert min(found.seconds.values()) > 0
    assert found.operations > 3
