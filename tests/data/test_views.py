"""Protocols that are not ours, without a network: registered, checked, read from the command line, and counted."""

import dataclasses
from typing import Annotated, Literal

import numpy as np
import pytest
import tyro

from jaxcnn.config import ConfigError, FixedViews, SingleCrop, TenCrop, Views, option_group
from jaxcnn.config.options import PositiveInt
from jaxcnn.data.views import PROTOCOLS, cut_views, protocol_union, register_protocol, view_count
from jaxcnn.errors import UserError


@option_group
class Diagonal(FixedViews):
    """Windows along the diagonal of an image as it is."""

    count: PositiveInt = 3
    """The number of windows."""
    average: Literal["probabilities", "scores"] = "scores"
    kind: Literal["diagonal"] = "diagonal"


def diagonal(image, views):
    return np.stack([image[step : step + views.size, step : step + views.size] for step in range(views.count)])


ONCE = SingleCrop()


@dataclasses.dataclass(frozen=True)
class Command:
    views: Annotated[Views, tyro.conf.arg(constructor_factory=protocol_union)] = ONCE


def test_the_command_line_knows_every_protocol(capsys):
    assert tyro.cli(Command, args=["views:ten-crop", "--views.size", "227"]).views == TenCrop(size=227)
    assert tyro.cli(Command, args=[]).views == SingleCrop()
    for name in ("views:diagonal", "views:ten"):
        with pytest.raises(SystemExit):
            tyro.cli(Command, args=[name])
    with PROTOCOLS.temporarily():
        register_protocol(Diagonal, diagonal)
        found = tyro.cli(Command, args=["views:diagonal", "--views.count", "5", "--views.size", "9"]).views
        assert found == Diagonal(count=5, size=9)
        capsys.readouterr()
        with pytest.raises(SystemExit):
            tyro.cli(Command, args=["views:diagonal", "--help"])
        said = " ".join(capsys.readouterr().out.replace("│", "").split())
        for sentence in (
            "Windows along the diagonal of an image as it is.",
            "--views.count INT The number of windows. (default: 3)",
            "--views.size INT The height and width of each view, in pixels. (default: 224)",
        ):
            assert sentence in said


@option_group
class NotFixed(Views):
    kind: Literal["not_fixed"] = "not_fixed"


@option_group
class OtherTen(FixedViews):
    kind: Literal["ten_crop"] = "ten_crop"


def test_protocols_that_cannot_be_registered():
    with pytest.raises(UserError, match=r"^NotFixed cannot be registered as a protocol: derive it from FixedViews and"):
        register_protocol(NotFixed, diagonal)
    with pytest.raises(UserError, match=r"^protocol kind 'ten_crop' of \S+\.OtherTen is taken by jaxcnn\.config\.eval"):
        register_protocol(OtherTen, diagonal)
    with pytest.raises(
        UserError, match=r"^protocol class Diagonal, which is not registered: call register_protocol\(Di"
    ):
        view_count(Diagonal(size=7))
    with pytest.raises(ConfigError, match=r"^average must be 'probabilities' or 'scores', not 'logits'$"):
        Diagonal(average="logits")


@pytest.mark.parametrize(
    ("size", "cut", "sentence"),
    [
        (
            5,
            lambda image, views: image[None, :4, :4],
            r"^protocol diagonal cut uint8 \(1, 4, 4, 3\): .* \(views, 5, 5, 3\)",
        ),
        (
            6,
            lambda image, views: image[None, :6, :6] / 2,
            r"^protocol diagonal cut float64 \(1, 6, 6, 3\): have the func",
        ),
        (
            7,
            lambda image, views: image[:7, :7],
            r"^protocol diagonal cut uint8 \(7, 7, 3\): have the function given to",
        ),
        (
            8,
            lambda image, views: np.repeat(image[None, :8, :8], len(image) // 4, axis=0),
            r"^protocol diagonal cut 5 views of one image and 4 of another: have the function given to register_pro",
        ),
    ],
)
def test_views_that_are_not_as_many_and_as_large_of_every_image_are_refused(size, cut, sentence):
    with PROTOCOLS.temporarily():
        register_protocol(Diagonal, cut)
        with pytest.raises(UserError, match=sentence):
            cut_views(np.zeros((20, 30, 3), np.uint8), Diagonal(size=size))
