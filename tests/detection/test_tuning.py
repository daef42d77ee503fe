"""Fine-tuning on regions."""

import dataclasses
import io

import flax.traverse_util
import jax
import numpy as np
import pytest
import rich.console

from jaxcnn.config.detection import TuningConfig
from jaxcnn.detection.matching import labelled_regions
from jaxcnn.detection.pictures import Pictures
from jaxcnn.detection.region_feed import RegionFeed
from jaxcnn.detection.tuning import tuned, with_new_head
from jaxcnn.devices.parallel import DataParallel
from jaxcnn.errors import UserError
from jaxcnn.training.report import read_metrics
from tests.detection import tiny

REGIONS = labelled_regions(tiny.split(), tiny.proposals())


def feed(config=None, seed=0, **options):
    config = config or tiny.config().rcnn.tuning
    parallel = DataParallel.over_all_devices()
    examples, background = REGIONS.examples(config.min_overlap), REGIONS.background(config.min_overlap)
    pictures = Pictures(tiny.split(), 3, **options)
    return RegionFeed(pictures, REGIONS, config, parallel, 2, examples, background, seed)


def tune(folder, config=None, stop=lambda: False):
    config = config or tiny.config()
    console = rich.console.Console(file=io.StringIO())
    pictures = Pictures(tiny.split(), 3)
    return tuned(tiny.network(), pictures, REGIONS, tiny.CLASSES, config, folder, stop=stop, console=console)


def leaves(variables):
    return flax.traverse_util.flatten_dict(dict(variables), sep="/")


@pytest.mark.slow
def test_a_step_shows_objects_and_background_as_asked_and_every_region_once_an_epoch():
    made, shown = feed(), []
    for batch in made.training(0, 5):
        labels = np.asarray(batch["label"])
        assert (labels[:8] < 2).all()
        assert (labels[8:] == 2).all()
        shown.append(np.asarray(batch["box"]))
    objects = np.concatenate([boxes[:8] for boxes in shown])
    every = REGIONS.boxes[made.examples]
    assert len(objects) > len(every)
    first = objects[: len(every)]
    np.testing.assert_array_equal(np.unique(first, axis=0), np.unique(every, axis=0))


def test_a_batch_is_a_function_of_seed_and_step():
    def same(one, other):
        return all(np.array_equal(one[name], other[name]) for name in ("picture", "box", "label"))

    (third,) = feed().training(2, 3)
    assert same(list(feed().training(0, 4))[2], third)
    (other,) = feed(seed=1).training(2, 3)
    assert not same(other, third)


def test_images_that_do_not_fit_are_read_for_each_step():
    (resident,) = feed().training(1, 2)
    (streamed,) = feed(resident_bytes=0).training(1, 2)
    assert "resident" in resident
    assert "resident" not in streamed
    np.testing.assert_array_equal(streamed["label"], resident["label"])
    whole = np.asarray(resident["resident"].pixels)[np.asarray(resident["picture"])]
    np.testing.assert_array_equal(np.asarray(streamed["pictures"].pixels)[np.asarray(streamed["picture"])], whole)


def test_only_what_depends_on_the_number_of_classes_is_new():
    network = tiny.network()
    model = network.model.clone(num_classes=3)
    shape = (tiny.SIZE, tiny.SIZE, 3)
    initial = model.init(jax.random.key(1), np.zeros((1, *shape), np.float32), train=False)
    found, old = leaves(with_new_head(network, model, initial, shape)), leaves(network.variables)
    new = {path for path in old if found[path].shape != old[path].shape}
    assert new == {"params/dense3/kernel", "params/dense3/bias"}
    for path in old.keys() - new:
        np.testing.assert_array_equal(found[path], old[path])


def test_learns_and_a_second_call_trains_no_more(tmp_path):
    config = tiny.config()
    longer = dataclasses.replace(config.rcnn.tuning, steps=40)
    config = dataclasses.replace(config, rcnn=dataclasses.replace(config.rcnn, tuning=longer))
    network = tune(tmp_path, config)
    assert network.class_names == ("dark", "light", "background")
    (evaluation,) = [line for line in read_metrics(tmp_path / "metrics.jsonl") if line["kind"] == "evaluation"]
    assert evaluation["top1_error"] < 20  # of 25 % that show objects

    def must_not_train():
        raise AssertionError("it was asked at a step")

    again = tune(tmp_path, config, must_not_train)
    for path, leaf in leaves(again.variables).items():
        np.testing.assert_array_equal(leaf, leaves(network.variables)[path])


@pytest.mark.slow  # as a part of a detector it is tried in test_detect.py
def test_goes_on_where_it_was_stopped_to_the_same_bits(tmp_path):
    whole = tune(tmp_path / "whole")
    asked = []

    def at_the_fourth():
        asked.append(0)
        return len(asked) == 4

    assert tune(tmp_path / "parts", stop=at_the_fourth) is None
    parts = tune(tmp_path / "parts")
    for path, leaf in leaves(parts.variables).items():
        np.testing.assert_array_equal(leaf, leaves(whole.variables)[path])


def test_a_batch_that_the_devices_cannot_share_is_refused(tmp_path):
    tuning = dataclasses.replace(tiny.config().rcnn.tuning, objects=7)
    config = dataclasses.replace(tiny.config(), rcnn=dataclasses.replace(tiny.config().rcnn, tuning=tuning))
    with pytest.raises(UserError, match=r"^the number of regions in a step 31 cannot be split over 8 devices: use 24"):
        tune(tmp_path, config)


def test_images_without_objects_or_without_background_are_refused(tmp_path):
    empty = labelled_regions(tiny.split(), [np.zeros((0, 4), np.float32)] * 4)
    pictures = Pictures(tiny.split(), 3)
    with pytest.raises(UserError, match=r"^every region overlaps an object by 0.5, so there is no background to tell"):
        tuned(tiny.network(), pictures, empty, tiny.CLASSES, tiny.config(), tmp_path)
    none = dataclasses.replace(REGIONS, label=np.full(len(REGIONS), -1, np.int32))
    with pytest.raises(UserError, match=r"^no region overlaps an object by 0.5, so there is nothing to tune the net"):
        tuned(tiny.network(), pictures, none, tiny.CLASSES, tiny.config(), tmp_path)


def test_options_have_the_papers_values():
    options = TuningConfig()
    assert (options.objects, options.backgrounds, options.min_overlap) == (32, 96, 0.5)
    assert (options.optimizer.learning_rate, options.optimizer.momentum, options.optimizer.weight_decay) == (
        *(0.001, 0.9),
        5e-4,
    )
