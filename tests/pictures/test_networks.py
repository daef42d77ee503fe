import pytest

from jaxcnn.errors import UserError
from jaxcnn.pictures.networks import plot_error_against_cost, plot_networks
from jaxcnn.tables.networks import describe


def test_plots_are_files(tmp_path):
    pytest.importorskip("matplotlib")
    plot_networks([describe("resnet18"), describe("lenet")], tmp_path / "new")
    for name in ("error_against_cost.png", "depth.png"):
        assert (tmp_path / "new" / name).stat().st_size > 10_000
    with pytest.raises(UserError, match="none of these networks has a published error"):
        plot_error_against_cost([describe("lenet")], tmp_path / "none.png")
