"""What `jaxcnn explain` writes: a page that asks for nothing, and a sheet; and what it refuses."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import jaxcnn
from jaxcnn.cli.main import main
from jaxcnn.config import DataConfig, Resize
from jaxcnn.errors import UserError
from jaxcnn.explanations.gradients import grad_cam
from jaxcnn.explanations.image import class_of, seen_pixels
from jaxcnn.pictures.explanation import Asked, explain, write_explanation
from jaxcnn.pictures.heat import grey_maps, laid_over, resized, signed
from tests.explanations.small import network, square
from tests.pictures.test_report import Page

HOSTILE = "<script>alert(1)</script>\x1b[31m"
PHOTOS = Path(__file__).parents[1] / "photos"
FACE = (32, 216, 16, 184)
"""The rows and the columns, from and to, of the cat's face in the whole photograph of it at 224x224."""


@pytest.fixture(scope="module")
def found():
    return explain(network(), square(), Asked(of="bright", layers=("stem_conv", "last_map")), DataConfig(name="digits"))


def test_a_page_has_all_parts_and_asks_for_nothing(found, tmp_path):
    write_explanation(found, HOSTILE, tmp_path / "page.html")
    read = Page((tmp_path / "page.html").read_text(encoding="utf-8"))
    titles = [attributes["id"] for name, attributes in read.elements if name == "section"]
    assert titles == [
        "answer", "image", "grad-cam", "integrated-gradients", "occlusion", "filters", "feature-maps", "nearest",
    ]  # fmt: skip
    images = [attributes for name, attributes in read.elements if name == "img"]
    assert len(images) == 1 + 2 + 1 + 1 + 1 + 3 + 8
    assert all(each["src"].startswith("data:image/") and each["alt"] for each in images)
    assert not read.script
    policy = next(each["content"] for name, each in read.elements if each.get("http-equiv"))
    assert "default-src 'none'" in policy
    assert "script-src 'none'" in policy
    assert any("<script>alert(1)</script>" in text for text in read.texts)
    assert any("stem_conv (12x12)" in text for text in read.texts)
    assert "bright" in read.texts


def test_a_sheet_holds_the_same_pictures(found, tmp_path):
    """In an empty place of it nothing is drawn, and the image itself is there, enlarged by a whole number."""
    write_explanation(found, HOSTILE, tmp_path / "sheet.png")
    drawn = np.asarray(Image.open(tmp_path / "sheet.png").convert("RGB"))
    assert drawn.shape[1] == 1120
    assert (drawn[:, -20:] == 255).all()
    wanted = found.sections[0].pictures[0].pixels.repeat(21, 0).repeat(21, 1)
    rows = [y for y in range(len(drawn) - len(wanted)) if (drawn[y, 24:34] == wanted[0, :10]).all()]
    assert any((drawn[y : y + len(wanted), 24 : 24 + len(wanted)] == wanted).all() for y in rows)


def test_maps_in_colours():
    pixels = np.full((8, 8, 3), 100, np.uint8)
    heat = laid_over(pixels, np.array([[0.0, 0.0], [0.0, 2.0]])).astype(int).sum(-1)
    assert heat[7, 7] == heat.max() > heat[7, 0]
    assert heat[0, 0] == heat.min()
    red, white, blue = signed(np.array([[1.0, 0.0, -1.0]]))[0].astype(int)
    assert red[0] > red[2]
    assert white.tolist() == [255, 255, 255]
    assert blue[2] > blue[0]
    maps = grey_maps(np.stack([np.array([[1.0, 3.0]]), np.array([[5.0, 5.0]])], -1))
    assert maps[..., 0].tolist() == [[[0, 255]], [[0, 0]]]


def test_a_file_of_another_kind_is_refused(found, tmp_path, capsys):
    with pytest.raises(UserError, match=r"let its name end in \.html or \.png"):
        write_explanation(found, "image", tmp_path / "sheet.gif")
    assert main(["explain", "photo.jpg", "--out", "sheet.gif"]) == 2
    assert main(["explain", "photo.jpg", "--features", "there"]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert errors[0] == "error: --out sheet.gif is neither a page nor a picture: let its name end in .html or .png"
    assert errors[1] == "error: --features keeps the features of a data set: name it with --neighbours-of"


@pytest.mark.slow
def test_the_command_explains_a_photograph_by_published_weights(tmp_path, capsys):
    lite0 = ["--model", "efficientnet_lite0", "--weights", "lite0"]
    assert main(["explain", "tests/photos/cat.jpg", *lite0, "--layers", "list"]) == 0
    assert "last_map" in capsys.readouterr().out
    out = tmp_path / "cat.html"
    assert main(["explain", "tests/photos/cat.jpg", *lite0, "--most-points", "32", "--out", str(out)]) == 0
    assert "tiger cat" in capsys.readouterr().out
    assert "Grad-CAM" in out.read_text()
    units = ["--layer", "stem_conv", "--units", "1", "--steps", "2", "--out", str(tmp_path / "units.html")]
    assert main(["activations", *lite0, *units]) == 0
    assert "unit 1: " in (tmp_path / "units.html").read_text()


@pytest.mark.slow
def test_grad_cam_of_published_weights_lies_on_what_is_named():
    """On the cat's face, and of a cat above an espresso on the one or the other, as the class says.

    The box around the face was drawn by hand on the whole photograph, squeezed to 224x224: from the foot of the ears to
    the chin, without the room on the right and the coat on the left.
    """
    network = jaxcnn.load("efficientnet_lite0", "lite0")
    whole = dataclasses.replace(network, data=dataclasses.replace(network.data, evaluation_crop=Resize(size=224)))
    tiger_cat, espresso = (class_of(network, name) for name in ("tiger cat", "espresso"))
    cam = resized(grad_cam(whole, seen_pixels(whole, PHOTOS / "cat.jpg"), tiger_cat).map, (224, 224))
    top, bottom, left, right = FACE
    assert (bottom - top) * (right - left) < 0.62 * cam.size
    assert cam[top:bottom, left:right].sum() > 0.8 * cam.sum()

    photos = (Image.open(PHOTOS / name).resize((448, 224)) for name in ("cat.jpg", "coffee.jpg"))
    both = np.concatenate([np.asarray(photo) for photo in photos])
    pixels = seen_pixels(network, both)
    cat, cup = (grad_cam(network, pixels, label).map for label in (tiger_cat, espresso))
    cat, cup = (resized(each, (224, 224)) for each in (cat, cup))
    assert cat[:112].sum() > 0.75 * cat.sum()
    assert cup[112:].sum() > 0.75 * cup.sum()
