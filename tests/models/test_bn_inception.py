import jax
import pytest

import jaxcnn
from jaxcnn.tables.networks import describe
from tests.models.shapes import trace


@pytest.mark.parametrize(("projections", "wide", "reduced"), [("paper", 608, 1056), ("slim", 576, 1024)])
def test_maps_are_figure_5s(projections, wide, reduced):
    """The figure's output sizes, but for strided modules, whose inputs' size it prints, and for its contradiction."""
    maps = trace(jaxcnn.create_model("bn_inception", projections=projections), 224)[2]
    assert {name: shape for name, shape in maps.items() if name.startswith("inception")} == {
        "inception3a": (28, 28, 256),
        "inception3b": (28, 28, 320),
        "inception3c": (14, 14, 576),
        "inception4a": (14, 14, 576),
        "inception4b": (14, 14, 576),
        "inception4c": (14, 14, wide),
        "inception4d": (14, 14, wide),
        "inception4e": (7, 7, reduced),
        "inception5a": (7, 7, 1024),
        "inception5b": (7, 7, 1024),
    }
    assert maps["conv1"] == (112, 112, 64)
    assert maps["conv2"] == (56, 56, 192)


def test_slims_projections_make_slims_count():
    """10,173,112 in TF-Slim's inception_v2_test.py, without the classifier.

    Its normalization has three numbers a channel, no scale; and its first convolution a bias in place of them.
    """
    params = trace(jaxcnn.create_model("bn_inception", projections="slim"), 224)[1]["params"]
    leaves = jax.tree_util.tree_leaves_with_path({name: params[name] for name in params if name != "classifier"})
    kernels = sum(leaf.size for path, leaf in leaves if path[-1].key == "kernel")
    channels = sum(leaf.size for path, leaf in leaves if path[-1].key == "scale")
    assert kernels + 3 * channels - 2 * 64 == 10_173_112


def test_pooling_is_as_the_figure_says(monkeypatch):
    called = []
    for kind in ("average_pool", "max_pool"):
        pool = getattr(jaxcnn.models.bn_inception, kind)

        def record(x, window, *, kind=kind, pool=pool, **settings):
            called.append((kind.removesuffix("_pool"), settings["strides"][0]))
            return pool(x, window, **settings)

        monkeypatch.setattr(jaxcnn.models.bn_inception, kind, record)
    trace(jaxcnn.create_model("bn_inception"), 224)
    stem, average, maximum, halving = [("max", 2)] * 2, ("average", 1), ("max", 1), ("max", 2)
    assert called == [*stem, average, average, halving, *[average] * 4, halving, average, maximum]


def test_multiply_adds():
    """Table 3 of arXiv:1512.00567 has 2.0 billion, rounded."""
    assert describe("bn_inception").multiply_adds == pytest.approx(2.0e9, rel=0.03)
