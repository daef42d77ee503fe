"""The plot of how a recipe scales: it is drawn, and shows what it is given."""

import numpy as np
import pytest
from PIL import Image

from jaxcnn.devices.machines import machine
from jaxcnn.laboratory.published import runs_of
from jaxcnn.laboratory.scaling import Exchange, Scaling, Step
from jaxcnn.laboratory.scaling_report import Series, Variant
from jaxcnn.pictures.scaling import plot_scaling


def test_ranges_are_drawn_and_published_runs_beside_them(tmp_path):
    pytest.importorskip("matplotlib")
    steps = {32: Step(32, (5e-3,), (Exchange("all-reduce", 50_000_000, None, blocking=False),), 0)}
    predictions = Scaling(machine("h100"), steps).weak([1, 8, 64, 4096], 32)
    series = Series(Variant("global", False), "weak", 32, tuple(predictions))
    runs = runs_of("resnet50", "h100", "bfloat16")
    plot_scaling([series], runs, "a title", tmp_path / "plot.png")
    with Image.open(tmp_path / "plot.png") as image:
        picture = np.asarray(image.convert("RGB")).astype(int)
    coloured, dark = np.ptp(picture, 2) > 60, picture.max(2) < 60
    middle = picture.shape[1] // 2
    for side in (np.s_[:, :middle], np.s_[:, middle:]):
        assert coloured[side].any()
        assert dark[side].any()
    # Published runs are black marks on the side of the rates alone, where no writing is.
    inside = np.s_[100:600, 150 : middle - 50]
    assert dark[inside].sum() > 100
