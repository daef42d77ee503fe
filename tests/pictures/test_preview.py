"""The page shows what the network sees: the same bits as the training step's, and each augmentation where it acts."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from jaxcnn import assembly
from jaxcnn.config import (
    DataConfig,
    HorizontalFlip,
    MixUpOrCutMix,
    ModelConfig,
    Normalization,
    RandomCrop,
    RandomResizedCrop,
    Resize,
    TrainConfig,
)
from jaxcnn.errors import UserError
from jaxcnn.pictures.preview import denormalize, preview, write_preview


def recipe(*augmentations, **data):
    options = {"name": "digits", "channels": 1, "batch_size": 16, "train_crop": Resize(size=12)} | data
    return TrainConfig(
        seed=3,
        model=ModelConfig(name="lenet"),
        data=DataConfig(**options),
        augmentations=augmentations,
        normalization=Normalization(mean=(0.3,), std=(0.37,)),
    )


def seen_in_training(config):
    """The first batch as the training step prepares it."""
    assembled = assembly.assemble(config)
    return assembled.prepare(next(assembled.train_feed.training(0, 1)))


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(
            recipe(RandomCrop(padding=3), HorizontalFlip(), MixUpOrCutMix(), train_crop=Resize(size=32)),
            marks=pytest.mark.slow,
        ),
        recipe(RandomCrop(padding=3), train_crop=RandomResizedCrop(size=32), residence="stream"),
    ],
    ids=["resident and mixed", "streamed"],
)
def test_the_last_column_is_what_training_sees(config):
    seen, _ = seen_in_training(config)
    columns = preview(config, 5)
    assert columns[-1].title == "the network's input"
    difference = columns[-1].images.astype(int) - denormalize(np.asarray(seen[:5]), config.normalization)
    assert abs(difference).max() <= 1  # another program may round a blend elsewhere
    assert (difference == 0).mean() > 0.99


def test_a_column_for_each_augmentation():
    crop, flip = preview(recipe(HorizontalFlip(probability=1.0)), 3)[:2]
    assert (crop.title, crop.fields) == ("the host's crop", "resize: size 12, interpolation bilinear")
    assert (flip.title, flip.fields) == ("horizontal_flip", "probability 1.0")
    np.testing.assert_array_equal(flip.images, crop.images[:, :, ::-1])
    assert crop.images.shape == (3, 12, 12, 1)
    assert all(caption in "0123456789" for caption in crop.captions)


def test_captions_say_what_is_mixed():
    columns = preview(recipe(MixUpOrCutMix(cutmix_probability=0.0, mixup_alpha=8.0)), 16)
    assert [column.title for column in columns] == ["the host's crop", "mixup_or_cutmix", "the network's input"]
    own, mixed = columns[0].captions, columns[1].captions
    shares = [re.fullmatch(r"(\d) (0\.\d\d) \+ (\d) (0\.\d\d)", caption) for caption in mixed]
    assert any(shares)
    for name, caption, share in zip(own, mixed, shares, strict=True):
        assert caption == name if share is None else name in (share[1], share[3])
        assert share is None or float(share[2]) + float(share[4]) == pytest.approx(1)


def test_the_page_holds_its_images(tmp_path):
    write_preview(recipe(RandomCrop(padding=2)), tmp_path / "page.html", 4)
    page = (tmp_path / "page.html").read_text()
    pictures = re.findall(r'src="data:image/png;base64,([^"]*)"', page)
    assert len(pictures) == 4 * 3
    first = np.asarray(Image.open(io.BytesIO(base64.b64decode(pictures[0]))))
    np.testing.assert_array_equal(first, preview(recipe(), 4)[0].images[0, ..., 0])
    assert "random_crop<small>padding 2, fill 0</small>" in page
    assert not re.search(r'(src|href)="(?!data:)', page)


def test_what_cannot_be_shown(tmp_path):
    with pytest.raises(UserError, match="images must be from 1 to 1437, not 0"):
        preview(recipe(), 0)
    with pytest.raises(UserError, match="images must be from 1 to 16, not 17"):
        preview(recipe(MixUpOrCutMix()), 17)
    with pytest.raises(UserError, match=r"nowhere/page\.html cannot be written: No such file"):
        write_preview(recipe(), tmp_path / "nowhere" / "page.html")
