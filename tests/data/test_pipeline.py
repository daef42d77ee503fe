"""Batches are a pure function of (seed, step): the same for any number of threads, from any step, resident or not."""

import dataclasses
import io
import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from jaxcnn.config import CenterCrop, DataConfig, Pad, RandomResizedCrop, Resize
from jaxcnn.data.loader import Loader
from jaxcnn.data.opening import open_data, open_split
from jaxcnn.data.order import epoch_order, image_rng, sample_of
from jaxcnn.data.pipeline import Split
from jaxcnn.errors import UserError

SMALL = Resize(size=8)


def jpeg(value: int) -> bytes:
    file = io.BytesIO()
    rows, columns = np.mgrid[:12, :15]
    Image.fromarray(np.stack([rows * 20, columns * 16, rows * 0 + value], -1).astype(np.uint8)).save(file, "JPEG")
    return file.getvalue()


@pytest.fixture
def photos(tmp_path):
    """Twelve training and seven validation images, of two classes."""
    for split, count in (("train", 12), ("val", 7)):
        for index in range(count):
            folder = tmp_path / split / ("ant" if index < count // 2 else "bee")
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{index:02}.jpg").write_bytes(jpeg(10 * index))
    return tmp_path


def folder_config(path, **options) -> DataConfig:
    options = {"train_crop": SMALL, "evaluation_crop": SMALL, "max_bad_share": 0.2, **options}
    return DataConfig(name=f"folder:{path}", **options)


def stand_in(size: int, repeats: int = 1) -> Split:
    """A resident split without any images: its training batches are indices alone."""
    images = np.zeros((size, 1, 1, 1), np.uint8)
    return Split("stand-in", ("a",), size, (1, 1, 1), images, np.zeros(size, np.int32), None, repeats)


def assert_equal(batches, others):
    for batch, other in itertools.zip_longest(batches, others):
        assert batch.keys() == other.keys()
        for key in batch:
            assert batch[key].dtype == other[key].dtype
            np.testing.assert_array_equal(batch[key], other[key])


def test_epoch_order_is_the_same_for_good():
    assert epoch_order(0, 0, 10).tolist() == [6, 1, 0, 5, 3, 8, 7, 9, 2, 4]
    assert epoch_order(7, 3, 8).tolist() == [4, 2, 7, 0, 5, 3, 1, 6]
    assert epoch_order(0, 0, 10).dtype == np.int32
    with pytest.raises(ValueError, match="read-only"):
        epoch_order(0, 0, 10)[0] = 1


def test_image_rng_is_the_same_for_good_and_its_own():
    assert image_rng(0, 0, 0).randint(1000, size=3).tolist() == [155, 612, 434]
    first = {
        image_rng(seed, epoch, position).randint(1 << 30) for seed in (0, 1) for epoch in (0, 1) for position in (0, 1)
    }
    assert len(first) == 8
    assert image_rng(0, 0, 0).permutation(10).tolist() != epoch_order(0, 0, 10).tolist()


@given(
    seed=st.integers(0, 2**31 - 1),
    epoch=st.integers(0, 2**20),
    position=st.integers(0, 2**40),
    before=st.integers(0, 9),
)
def test_image_rng_is_philox_at_a_place_of_its_own_whatever_was_drawn_before(seed, epoch, position, before):
    image_rng(1, 2, 3).randint(1 << 20, size=before, dtype=np.int32)  # an odd number leaves half a word behind
    expected = np.random.RandomState(np.random.Philox(key=seed, counter=position << 64 | epoch << 128))
    found = image_rng(seed, epoch, position)
    for each in (lambda draws: draws.random_sample(5), lambda draws: draws.randint(1 << 20, size=3, dtype=np.int32)):
        np.testing.assert_array_equal(each(found), each(expected))


def test_each_thread_has_an_image_rng_of_its_own():
    def draws(position: int) -> list[int]:
        rng = image_rng(0, 0, position)
        return [rng.randint(1 << 30) for _ in range(2000)]

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(draws, range(8))) == [draws(position) for position in range(8)]


@settings(deadline=None)
@given(
    size=st.integers(1, 40),
    batch_size=st.integers(1, 50),
    epochs=st.integers(1, 4),
    seed=st.integers(0, 2**31 - 1),
)
def test_every_epoch_visits_every_image_once(size, batch_size, epochs, seed):
    steps = -(-size * epochs // batch_size)
    batches = list(stand_in(size).training_batches(seed, batch_size, 0, steps))
    index, epoch, position = (
        np.concatenate([batch[key] for batch in batches])[: size * epochs] for key in ("index", "epoch", "position")
    )
    assert all(value.dtype == np.int32 for batch in batches for value in batch.values())
    assert all(value.shape == (batch_size,) for batch in batches for value in batch.values())
    for number in range(epochs):
        chosen = slice(number * size, (number + 1) * size)
        assert (epoch[chosen] == number).all()
        assert (position[chosen] == np.arange(size)).all()
        assert sorted(index[chosen]) == list(range(size))
        assert (index[chosen] == epoch_order(seed, number, size)).all()


@settings(deadline=None)
@given(
    size=st.integers(1, 60),
    batch_size=st.integers(1, 50),
    repeats=st.integers(1, 5),
    seed=st.integers(0, 2**31 - 1),
)
def test_repeats_of_an_image_come_together_but_not_side_by_side(size, batch_size, repeats, seed):
    steps = -(-size // batch_size)
    batches = list(stand_in(size, repeats).training_batches(seed, batch_size, 0, steps))
    found = {}
    for step, batch in enumerate(batches):
        line = [sample_of(slot, step, batch_size, repeats) for slot in range(batch_size)]
        assert sorted(line) == list(range(step * batch_size, (step + 1) * batch_size))
        assert list(zip(*np.divmod(line, size), strict=True)) == list(
            zip(batch["epoch"], batch["position"], strict=True)
        )
        first = batch["epoch"] == 0
        found |= dict(zip(batch["position"][first], batch["index"][first], strict=True))
        if first.all() and batch_size >= 3 * repeats:
            assert (batch["index"] != np.roll(batch["index"], 1)).all()
    # Position for position timm's line of images, each repeated, as far as an epoch goes.
    expected = np.repeat(epoch_order(seed, 0, size), repeats)[:size]
    assert [found[position] for position in range(size)] == expected.tolist()


def test_repeats_are_cut_anew(photos):
    crop = RandomResizedCrop(size=8)
    once, twice = (
        open_data(folder_config(photos, train_crop=crop, repeats=repeats, workers=0)).train for repeats in (1, 2)
    )
    batch = next(twice.training_batches(0, 12, 0, 1))
    assert batch["position"].tolist() == [0, 2, 4, 6, 8, 10, 1, 3, 5, 7, 9, 11]
    assert (batch["image"][:6] != batch["image"][6:]).any(axis=(1, 2, 3)).all()
    np.testing.assert_array_equal(batch["label"][:6], batch["label"][6:])
    # The image at a position is cut as without repeats, whatever image it is.
    plain = next(once.training_batches(0, 12, 0, 1))
    np.testing.assert_array_equal(batch["label"][:6], plain["label"][:6])
    np.testing.assert_array_equal(batch["image"][0], plain["image"][0])
    assert_equal(twice.training_batches(0, 5, 3, 5), list(twice.training_batches(0, 5, 0, 5))[3:])


@settings(deadline=None)
@given(size=st.integers(1, 40), batch_size=st.integers(1, 50))
def test_evaluation_visits_every_image_once(size, batch_size):
    batches = list(stand_in(size).evaluation_batches(batch_size))
    assert sum(batch["mask"].sum() for batch in batches) == size
    assert np.concatenate([batch["index"][batch["mask"]] for batch in batches]).tolist() == list(range(size))
    assert {batch["index"].shape for batch in batches} == {(batch_size,)}
    assert max(batch["index"].max() for batch in batches) < size


def test_batches_of_any_step_need_no_earlier_ones():
    split = stand_in(10)
    assert_equal(split.training_batches(3, 4, 5, 9), list(split.training_batches(3, 4, 0, 9))[5:])
    assert list(split.training_batches(3, 4, 2, 2)) == []


@pytest.mark.parametrize("name", ["digits", "synthetic"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_stream_holds_what_is_resident(name, channels):
    options = {"name": name, "channels": channels, "train_crop": CenterCrop(size=8, resize=9), "evaluation_crop": SMALL}
    resident, stream = (open_data(DataConfig(residence=kind, **options)) for kind in ("device", "stream"))
    assert resident.train.resident
    assert not stream.train.resident
    assert resident.train.image_shape == stream.train.image_shape == (8, 8, channels)
    assert resident.train.images.shape == (stream.train.size, 8, 8, channels)
    assert resident.class_names == stream.class_names == tuple("0123456789")

    def gathered(split, batches):
        for batch in batches:
            index = batch["index"]
            if "mask" not in batch:
                del batch["index"]
            kept = batch.get("mask", np.ones(len(index), bool))
            image = split.images[index] * kept[:, None, None, None]
            yield {"image": image, "label": split.labels[index] * kept.astype(np.int32), **batch}

    steps = range(resident.train.size // 100 - 1, resident.train.size // 100 + 2)  # across the end of the first epoch
    assert_equal(
        gathered(resident.train, resident.train.training_batches(1, 100, steps[0], steps[-1])),
        stream.train.training_batches(1, 100, steps[0], steps[-1]),
    )
    assert_equal(
        gathered(resident.evaluation, resident.evaluation.evaluation_batches(100)),
        stream.evaluation.evaluation_batches(100),
    )


def test_a_stream_is_the_same_for_any_number_of_workers_and_from_any_step(photos):
    crop = RandomResizedCrop(size=8)
    none, one, four = (
        open_data(folder_config(photos, train_crop=crop, workers=workers)).train for workers in (0, 1, 4)
    )
    batches = list(none.training_batches(0, 5, 0, 8))
    assert_equal(batches, one.training_batches(0, 5, 0, 8))
    assert_equal(batches, four.training_batches(0, 5, 0, 8))
    assert_equal(batches[3:], four.training_batches(0, 5, 3, 8))
    assert {(key, value.shape, str(value.dtype)) for key, value in batches[0].items()} == {
        ("image", (5, 8, 8, 3), "uint8"),
        ("label", (5,), "int32"),
        ("epoch", (5,), "int32"),
        ("position", (5,), "int32"),
    }
    assert (batches[0]["image"] != next(one.training_batches(1, 5, 0, 1))["image"]).any()


@pytest.mark.parametrize("residence", ["device", "stream"])
@pytest.mark.parametrize("rows", [(0, 1, 4), (2, 3, 5)])
def test_some_rows_are_those_of_the_whole_batch_and_nothing_else_is_read(photos, monkeypatch, residence, rows):
    splits = open_data(folder_config(photos, residence=residence, workers=2))

    def batches(rows=None):
        return [*splits.train.training_batches(0, 6, 1, 5, rows), *splits.evaluation.evaluation_batches(6, rows)]

    whole, read = batches(), []
    load = Loader.load
    monkeypatch.setattr(Loader, "load", lambda *args: read.append(args) or load(*args))
    some = batches(np.array(rows))
    assert_equal(some, [{name: value[list(rows)] for name, value in batch.items()} for batch in whole])
    assert len(read) == (
        0 if residence == "device" else 12 + sum(6 * step + row < 7 for step in (0, 1) for row in rows)
    )


@pytest.mark.parametrize("residence", ["device", "stream"])
def test_masks_of_a_partial_batch(photos, residence):
    split = open_split(folder_config(photos, residence=residence))
    batches = list(split.evaluation_batches(4))
    assert [batch["mask"].tolist() for batch in batches] == [[True] * 4, [True] * 3 + [False]]
    assert batches[0]["mask"].dtype == bool
    if residence == "stream":
        assert [batch["label"].tolist() for batch in batches] == [[0, 0, 0, 1], [1, 1, 1, 0]]
        assert (batches[1]["image"][3] == 0).all()
    else:
        assert split.labels.tolist() == [0, 0, 0, 1, 1, 1, 1]


def truncate(path):
    path.write_bytes(path.read_bytes()[:-30])


def test_a_resident_split_leaves_out_what_cannot_be_decoded(photos):
    truncate(photos / "train" / "ant" / "03.jpg")
    (photos / "train" / "bee" / "07.jpg").write_text("not found")
    split = open_data(folder_config(photos)).train
    assert split.resident
    assert split.size == len(split.images) == len(split.labels) == 10
    assert split.labels.tolist() == [0] * 5 + [1] * 5
    assert [path[-6:] for path, _ in split.bad] == ["07.jpg", "03.jpg"]
    with pytest.raises(UserError, match=r"2 of 12 images of folder.*max_bad_share allows 10.00%.*03.jpg cannot"):
        open_data(folder_config(photos, max_bad_share=0.1))


def test_a_training_stream_puts_the_next_image_for_one_that_cannot_be_decoded(photos):
    whole = next(open_data(folder_config(photos, residence="stream")).train.training_batches(0, 12, 0, 1))
    for name in ("bee/11", "ant/00"):
        truncate(photos / "train" / f"{name}.jpg")
    split = open_data(folder_config(photos, residence="stream")).train
    batches = list(split.training_batches(0, 12, 0, 3))
    order = epoch_order(0, 0, 12)
    for position, index in enumerate(order):
        source = 1 if index in (11, 0) else index
        expected = whole["image"][order.tolist().index(source)]
        np.testing.assert_array_equal(batches[0]["image"][position], expected)
        assert batches[0]["label"][position] == source // 6
    assert split.size == 12
    assert [path[-6:] for path, _ in split.bad] == ["00.jpg", "11.jpg"]


def test_a_training_stream_stops_above_the_limit(photos):
    for name in ("ant/00", "ant/01", "bee/07"):
        truncate(photos / "train" / f"{name}.jpg")
    split = open_data(folder_config(photos, residence="stream")).train
    for _ in range(2):
        with pytest.raises(UserError, match=r"3 of 12 images"):
            list(split.training_batches(0, 12, 0, 2))


@pytest.mark.parametrize("residence", ["device", "stream"])
def test_nothing_can_be_read(photos, residence):
    for path in photos.glob("train/*/*.jpg"):
        truncate(path)
    with pytest.raises(UserError, match="no image of folder"):
        list(
            open_data(folder_config(photos, residence=residence, max_bad_share=1.0)).train.training_batches(0, 2, 0, 1)
        )


def test_an_evaluation_stream_masks_what_cannot_be_decoded(photos):
    truncate(photos / "val" / "ant" / "01.jpg")
    split = open_split(folder_config(photos, residence="stream"))
    for _ in range(2):
        mask = np.concatenate([batch["mask"] for batch in split.evaluation_batches(4)])
        assert mask.tolist() == [True, False, True, True, True, True, True, False]
    assert [path[-6:] for path, _ in split.bad] == ["01.jpg"]


def test_a_resident_evaluation_split_masks_the_same_images_as_a_stream(photos):
    """So an image has one index, and every measurement of the split counts the same images."""
    truncate(photos / "val" / "ant" / "01.jpg")
    (photos / "val" / "bee" / "03.jpg").write_text("not found")
    options = {"max_bad_share": 0.5}
    data = open_data(folder_config(photos, **options))
    splits = [
        data.evaluation,
        *(open_split(folder_config(photos, **options, residence=kind)) for kind in ("device", "stream")),
    ]
    seen = []
    for split in splits:
        batches = list(split.evaluation_batches(4))
        mask, index = (np.concatenate([batch[name] for batch in batches]) for name in ("mask", "index"))
        seen.append((split.size, index.tolist(), mask.tolist(), split.unreadable, sorted(split.bad)))
    assert [split.resident for split in splits] == [True, True, False]
    assert seen[0] == seen[1] == seen[2]
    assert seen[0][3] == (1,)
    assert splits[0].images[1].max() == 0


def test_images_that_a_crop_cannot_cut_are_bad_images(photos):
    with pytest.raises(UserError, match="12 by 15 pixels, too large to be padded to 8 by 8"):
        open_split(folder_config(photos, evaluation_crop=Pad(size=8)))


def test_a_header_that_claims_too_much_is_never_decoded(photos):
    with pytest.raises(UserError, match="claims 15 by 12 pixels, more than max_pixels=100"):
        open_split(folder_config(photos, max_pixels=100))


def test_closing_a_stream_early_lets_its_threads_go(photos):
    before = threading.active_count()
    batches = open_data(folder_config(photos, residence="stream", workers=4)).train.training_batches(0, 4, 0, 10**9)
    next(batches)
    assert threading.active_count() > before
    batches.close()
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before


def test_residence():
    config = DataConfig(name="digits", train_crop=SMALL, evaluation_crop=SMALL, channels=1)
    needed = 1797 * 8 * 8
    assert open_data(dataclasses.replace(config, resident_bytes=needed)).train.resident
    assert not open_data(dataclasses.replace(config, resident_bytes=needed - 1)).evaluation.resident
    random = dataclasses.replace(config, train_crop=RandomResizedCrop(size=8))
    assert not open_data(random).train.resident
    with pytest.raises(UserError, match=r"residence 'device' .* train_crop is random"):
        open_data(dataclasses.replace(random, residence="device"))
    assert open_split(dataclasses.replace(random, residence="device")).resident
    with pytest.raises(UserError, match="evaluation_crop is random"):
        open_data(dataclasses.replace(config, evaluation_crop=RandomResizedCrop(size=8)))


def test_splits(photos):
    data = open_data(folder_config(photos))
    assert data.train.name == f"folder:{photos}, split 'train'"
    assert (data.train.size, data.evaluation.size) == (12, 7)
    assert open_data(folder_config(photos, train_split="val", evaluation_split="train")).evaluation.size == 12
    assert open_split(folder_config(photos, evaluation_split="train")).size == 12
    assert open_split(folder_config(photos), "train").size == 12
    (photos / "val" / "bee").rename(photos / "val" / "wasp")
    with pytest.raises(UserError, match="different classes"):
        open_data(folder_config(photos))
