import pytest

from jaxcnn.errors import UserError
from jaxcnn.pictures.networks import plot_error_against_cost
from jaxcnn.tables.networks import describe


def test_the_plot_is_a_file(tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "new" / "error_against_cost.png"
    plot_error_against_cost([describe("resnet18"), describe("lenet")], path)
    assert path.stat().st_size > 10_000
    with pytest.raises(UserError, match="none of these networks has a published error"):
        plot_error_against_cost([describe("lenet")], tmp_path / "none.png")
