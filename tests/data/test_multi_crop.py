"""Several views of one image: torchvision's ten, and GoogLeNet's 144 against a second reading of the paper."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxcnn.data.crop import CropError
from jaxcnn.data.multi_crop import five_crop, googlenet_crops, multi_scale, ten_crop
from tests.golden import crop_cases

GOLDEN = np.load(Path(__file__).parent.parent / "golden" / "crops.npz")


@pytest.mark.parametrize("case", crop_cases.TEN_CROPS, ids=str)
def test_ten_crops_are_torchvisions(case):
    height, width, size = case
    expected = GOLDEN[f"ten_{height}_{width}_{size}"]
    assert expected.shape == (10, size, size, 3)
    image = crop_cases.places(height, width)
    np.testing.assert_array_equal(ten_crop(image, size), expected)
    np.testing.assert_array_equal(five_crop(image, size), expected[:5])
    np.testing.assert_array_equal(ten_crop(image[..., :1], size), expected[..., :1])


def test_windows_larger_than_the_image_are_refused():
    with pytest.raises(CropError, match="20 by 15 pixels, too small for windows of 16 by 16"):
        ten_crop(np.zeros((20, 15, 3), np.uint8), 16)


def test_multi_scale():
    image = crop_cases.image(50, 75, 3)
    small, large = multi_scale(image, (32, 64), "bicubic")
    np.testing.assert_array_equal(small, np.asarray(Image.fromarray(image).resize((48, 32), Image.Resampling.BICUBIC)))
    assert large.shape == (64, 96, 3)
    assert multi_scale(image[..., :1], (50,))[0].shape == (50, 75, 1)


def four_corners_centre_and_whole(square: Image.Image, size: int) -> list[Image.Image]:
    """Written from arXiv:1409.4842, section 7, in Pillow's own operations: left, upper, right, lower."""
    side = square.width
    middle = round((side - size) / 2)
    boxes = [
        (0, 0, size, size),
        (side - size, 0, side, size),
        (0, side - size, size, side),
        (side - size, side - size, side, side),
        (middle, middle, middle + size, middle + size),
    ]
    return [*map(square.crop, boxes), square.resize((size, size), Image.Resampling.BILINEAR)]


@pytest.mark.parametrize("shape", [(41, 60, 3), (60, 41, 3), (50, 50, 3), (41, 60, 1)], ids=str)
def test_googlenets_144(shape):
    height, width, channels = shape
    image = crop_cases.image(*shape)
    picture = Image.fromarray(image[..., 0] if channels == 1 else image)
    expected = []
    for short in (40, 45, 50, 55):
        if width >= height:
            scaled = picture.resize((width * short // height, short), Image.Resampling.BILINEAR)
            extra = scaled.width - short
            squares = [scaled.crop((left, 0, left + short, short)) for left in (0, round(extra / 2), extra)]
        else:
            scaled = picture.resize((short, height * short // width), Image.Resampling.BILINEAR)
            extra = scaled.height - short
            squares = [scaled.crop((0, top, short, top + short)) for top in (0, round(extra / 2), extra)]
        for square in squares:
            six = four_corners_centre_and_whole(square, 35)
            expected += six + [each.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for each in six]
    views = googlenet_crops(image, 35, (40, 45, 50, 55))
    assert views.shape == (144, 35, 35, channels)
    assert views.dtype == np.uint8
    for number, (view, each) in enumerate(zip(views, expected, strict=True)):
        np.testing.assert_array_equal(view, np.asarray(each).reshape(view.shape), str(number))


def test_googlenets_scales_are_the_papers():
    views = googlenet_crops(crop_cases.image(300, 400, 1))
    assert views.shape == (144, 224, 224, 1)
    # The first view of each scale is its top left, so 32 pixels of short side further in at each.
    for scale, short in enumerate((256, 288, 320, 352)):
        scaled = multi_scale(crop_cases.image(300, 400, 1), (short,))[0]
        np.testing.assert_array_equal(views[36 * scale], scaled[:224, :224])


def test_googlenets_windows_must_fit():
    with pytest.raises(CropError, match="30 by 30 pixels, too small for windows of 35 by 35"):
        googlenet_crops(crop_cases.image(41, 60, 3), 35, (30, 40))
