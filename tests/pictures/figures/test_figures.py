"""The numbers that the lecture's figures draw, and how the files are written."""

import importlib.metadata
import importlib.util
import sys
import xml.etree.ElementTree
from pathlib import Path

import numpy as np
import pytest
from jax import lax
from PIL import Image

from jaxcnn.cli.main import main
from jaxcnn.errors import UserError
from jaxcnn.pictures.figures.blocks import INCEPTION, RESIDUAL
from jaxcnn.pictures.figures.convolution import EXAMPLES, table
from jaxcnn.pictures.figures.crops import corners
from jaxcnn.pictures.figures.depth import bars
from jaxcnn.pictures.figures.diagram import Node, branches, join_of, size_of, trace
from jaxcnn.pictures.figures.dropout import RATE, UNITS, factors
from jaxcnn.pictures.figures.entries import entries
from jaxcnn.pictures.figures.momentum import CURVATURES, START, STEPS, path
from jaxcnn.pictures.figures.momentum import RATE as STEP_LENGTH
from jaxcnn.pictures.figures.product import FILTERS, IMAGE, example
from jaxcnn.pictures.figures.registry import FIGURES, check_names
from jaxcnn.pictures.figures.traced import block, convolutions
from jaxcnn.tables.networks import describe

X = "\N{MULTIPLICATION SIGN}"
PICTURES = Path(__file__).parents[3] / "docs" / "pictures"


def texts(svg):
    """The pieces of text that an SVG holds as text."""
    return [each.text for each in xml.etree.ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def assert_shown(nodes, name):
    """Each line and size of a block is in a picture of the documentation, which --letters text has drawn."""
    shown = texts((PICTURES / f"{name}.svg").read_text())
    assert {line for node in nodes for line in (*node.lines, size_of(node))} <= set(shown)


def test_output_sizes_are_those_of_jax_and_of_the_formula():
    for shape in EXAMPLES:
        images, kernel = np.zeros(shape.images), np.zeros(shape.kernel)
        outputs = lax.conv_general_dilated(
            images, kernel, shape.strides, shape.padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        assert shape.outputs == outputs.shape
    assert [shape.size for shape in EXAMPLES] == [(3, 3), (5, 5), (3, 3)]


def test_the_table_is_of_the_traced_networks():
    head, row = table(("alexnet_2012",))
    assert len(head) == len(row)
    assert row == ["alexnet_2012", f"227{X}227", f"11{X}11", "4", "0", f"55{X}55", "96"]
    for shape, outputs in convolutions("lenet"):
        assert shape.outputs == outputs


def test_the_product_is_the_convolution():
    found = example()
    by_hand = [[[(IMAGE[i : i + 3, j : j + 3] * each).sum() for each in FILTERS] for j in range(2)] for i in range(2)]
    np.testing.assert_array_equal(found.outputs, by_hand)
    np.testing.assert_array_equal(found.patches @ found.kernel, found.outputs.reshape(4, 2))
    np.testing.assert_array_equal(found.patches[1], IMAGE[:3, 1:].ravel())
    np.testing.assert_array_equal(found.kernel.T, FILTERS.reshape(2, 9))


def test_depths_are_those_of_the_papers():
    found = bars(lambda name: describe(name).depth)
    assert {each.entry.name: each.layers for each in found if each.counted} == {
        "AlexNet": 8,
        "VGG": 19,
        "GoogLeNet": 22,
        "ResNet": 152,
    }
    assert [(each.entry.name, each.layers) for each in found if not each.counted and each.layers] == [("Clarifai", 8)]
    assert [each.entry.year for each in found] == [2010, 2011, 2012, 2013, 2014, 2014, 2015]


def test_every_entry_has_a_source():
    found = entries()
    assert [(each.year, each.place) for each in found] == [
        (year, place) for year in range(2010, 2018) for place in (1, 2)
    ]
    for each in found:
        assert each.source.startswith(f"image-net.org/challenges/LSVRC/{each.year}/results")
        assert bool(each.layers) == bool(each.layers_source)
        assert 2 < each.top5_error < 35
    of = {each.name: each for each in found if each.place == 1}
    # Rounded as the entries' own papers give them: NIPS 2012, arXiv:1409.4842, arXiv:1512.03385.
    assert round(of["AlexNet"].top5_error, 1) == 15.3
    assert of["GoogLeNet"].top5_error == pytest.approx(6.67, abs=0.02)
    assert round(of["ResNet"].top5_error, 2) == 3.57


def test_dropout_keeps_the_mean():
    draws = [factors(step) for step in range(1, 3)]
    for layers in draws:
        assert [len(layer) for layer in layers] == list(UNITS)
        assert {*layers[0], *layers[-1]} == {1}
        assert set(np.concatenate(layers[1:-1])) == {0, 1 / (1 - RATE)}
    assert any((one != other).any() for one, other in zip(*draws, strict=True))
    assert {*np.concatenate(factors(None))} == {1}


def test_windows_lie_in_the_corners():
    np.testing.assert_array_equal(corners(), [[0, 0], [0, 32], [32, 0], [32, 32], [16, 16]])


def test_an_inception_module_as_traced():
    nodes = trace(*block(*INCEPTION))
    end = join_of(nodes)
    ways = [[(nodes[each].lines[0], nodes[each].shape[-1]) for each in way] for way in branches(nodes, end)]
    assert ways == [
        [(f"1{X}1 conv, 64", 64)],
        [(f"1{X}1 conv, 96", 96), (f"3{X}3 conv, 128", 128)],
        [(f"1{X}1 conv, 16", 16), (f"3{X}3 conv, 32", 32)],
        [(f"3{X}3 max pooling", 192), (f"1{X}1 conv, 32", 32)],
    ]
    assert nodes[end].lines == ("concatenate",)
    assert nodes[end].shape == (1, 28, 28, 64 + 128 + 32 + 32)
    assert nodes[1].lines == (f"1{X}1 conv, 64", "batch norm", "ReLU")
    assert_shown(nodes, "inception")


@pytest.mark.parametrize(
    ("which", "ways"),
    [
        (RESIDUAL[0], [[f"3{X}3 conv, 64", f"3{X}3 conv, 64"], []]),
        (RESIDUAL[2], [[f"1{X}1 conv, 128", f"3{X}3 conv, 128", f"1{X}1 conv, 512"], [f"1{X}1 conv, 512"]]),
    ],
    ids=["identity", "projection"],
)
def test_a_residual_block_as_traced(which, ways):
    nodes = trace(*block(*which))
    end = join_of(nodes)
    assert [[nodes[each].lines[0] for each in way] for way in branches(nodes, end)] == ways
    assert nodes[end].lines == ("+", "ReLU")
    strides = [line for node in nodes for line in node.lines if line.startswith("stride")]
    assert strides == (["stride 2", "stride 2"] if ways[1] else [])
    assert_shown(nodes, "residual")


def test_what_cannot_be_laid_out_is_refused():
    with pytest.raises(ValueError, match="no module stage9"):
        block("resnet18", "stage9_block0")
    shape = (1, 4, 4, 2)
    chain = [Node(("input",), (), shape), Node(("a",), (0,), shape)]
    with pytest.raises(ValueError, match="ways meet once"):
        join_of(chain)
    twice = [*chain, Node(("+",), (0, 1), shape), Node(("b",), (2,), shape), Node(("+",), (2, 3), shape)]
    with pytest.raises(ValueError, match="ways meet once"):
        join_of(twice)
    with pytest.raises(ValueError, match="part once"):
        branches(twice, 4)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_the_path_is_that_of_the_formula(momentum):
    place, velocity = np.array(START), np.zeros(2)
    for visited in path(momentum):
        np.testing.assert_allclose(visited, place, atol=2e-4)
        velocity = momentum * velocity + CURVATURES * place
        place = place - STEP_LENGTH * velocity
    assert len(path(momentum)) == STEPS + 1


def test_files_are_the_same_again_and_hold_no_date(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    assert main(["figures", "depth", "--out", str(tmp_path / "one")]) == 0
    assert capsys.readouterr().out.splitlines() == [str(tmp_path / "one" / f"depth.{kind}") for kind in ("svg", "png")]
    assert main(["figures", "depth", "--out", str(tmp_path / "two"), "--formats", "svg"]) == 0
    svg = (tmp_path / "one" / "depth.svg").read_bytes()
    assert svg == (tmp_path / "two" / "depth.svg").read_bytes()
    assert not (tmp_path / "two" / "depth.png").exists()
    assert b"<dc:date>" not in svg
    kept = (PICTURES / "depth.svg").read_bytes()
    if f"Matplotlib v{importlib.metadata.version('matplotlib')}," in kept.decode():
        assert svg == kept  # else draw it again: jaxcnn figures depth --out docs/pictures --formats svg
    xml.etree.ElementTree.fromstring(svg)
    with Image.open(tmp_path / "one" / "depth.png") as image:
        assert image.size == (1599, 900)


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_each_figure_is_drawn(name, tmp_path):
    pytest.importorskip("matplotlib")
    for folder in ("one", "two"):
        assert main(["figures", name, "--out", str(tmp_path / folder)]) == 0
    for kind in ("svg", "png"):
        one, two = ((tmp_path / folder / f"{name}.{kind}").read_bytes() for folder in ("one", "two"))
        assert one == two
        assert len(one) > 10_000


@pytest.mark.slow
def test_letters_are_text_where_that_is_asked_for(tmp_path):
    pytest.importorskip("matplotlib")
    for letters in ("outlines", "text"):
        folder = ["--out", str(tmp_path / letters), "--formats", "svg"]
        assert main(["figures", "residual", *folder, "--letters", letters]) == 0
    outlines, text = ((tmp_path / letters / "residual.svg").read_bytes() for letters in ("outlines", "text"))
    assert texts(outlines) == []
    assert texts(text) == texts((PICTURES / "residual.svg").read_bytes())
    assert len(text) < len(outlines) / 2


def test_the_command_lists_and_refuses(tmp_path, capsys):
    assert main(["figures", "--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(FIGURES)
    assert main(["figures", "depht", "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err == "error: there is no figure depht: did you mean 'depth'?\n"
    assert main(["figures", "depth"]) == 2
    assert "give --out FOLDER" in capsys.readouterr().err
    (tmp_path / "no.jpg").write_bytes(b"no picture")
    for name, complaint in (("no.jpg", "no.jpg"), ("none.jpg", "cannot be read: No such file")):
        assert main(["figures", "crops", "--out", str(tmp_path), "--photograph", str(tmp_path / name)]) == 2
        assert complaint in capsys.readouterr().err
    assert main(["figures", "depth", "--out", str(tmp_path / "no.jpg" / "folder")]) == 2
    if importlib.util.find_spec("matplotlib"):
        assert "give another --out" in capsys.readouterr().err
    with pytest.raises(UserError, match="there is no figure"):
        check_names(["no"])


def test_a_sliver_is_no_photograph_to_crop(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    Image.new("RGB", (60_000, 2)).save(tmp_path / "sliver.png")
    assert main(["figures", "crops", "--out", str(tmp_path), "--photograph", str(tmp_path / "sliver.png")]) == 2
    assert capsys.readouterr().err.startswith("error: the photograph ")


def test_nothing_is_drawn_without_matplotlib(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["figures", "depth", "--out", str(tmp_path / "new")]) == 2
    assert capsys.readouterr().err == (
        "error: drawing needs matplotlib, which is not installed: install the extra plot\n"
    )
    assert not (tmp_path / "new").exists()
