import dataclasses
import re
from pathlib import Path

import jax
import pytest

from jaxcnn.config import CenterCrop, DataConfig, PublishedConfig
from jaxcnn.devices.parallel import DataParallel
from jaxcnn.errors import UserError
from jaxcnn.laboratory import dry_run as module
from jaxcnn.laboratory.dry_run import DoesNotFit, data_or_stand_in, dry_run, with_fewest_micro_batches
from jaxcnn.recipes import load_config

RECIPES = Path(__file__).parent.parent / "recipes"


def test_a_dry_run_says_what_a_run_would_take_and_leaves_nothing(tmp_path, monkeypatch, one_device):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(DataParallel, "over_all_devices", lambda: one_device)
    published = PublishedConfig(top1_error=1.5, protocol="as told", source="hearsay")
    config = dataclasses.replace(load_config(RECIPES / "tiny.py"), published=published)
    found = dry_run(config)
    assert (found.total_steps, found.training_images, found.evaluation_images) == (45, 1437, 360)
    assert not found.assumed
    memory = found.memory
    assert memory.gradients == memory.held["parameters"] == 4 * found.parameters
    assert memory.held["optimizer state"] == 4 * found.parameters + 4  # the momentum, and the schedule's step
    assert memory.held["data set"] == 1437 * (8 * 8 + 4)
    assert memory.held["batch"] == 3 * 4 * 64
    assert "moving average" not in memory.held
    # At least the pixels of a batch, and the first convolution's output, which the backward pass needs.
    assert memory.temporaries >= 64 * 8 * 8 * (1 + 4) * 4
    assert memory.total >= sum(memory.held.values()) + memory.temporaries
    assert 0 < found.seconds_a_step < 60

    report = found.report()
    assert "tiny: tiny, " in report
    assert "45 steps of 64 images: 2 epochs of 1,437, 2,880 samples; 360 to evaluate on\n" in report
    assert re.search(r"\n  temporaries +[\d.]+  \(activations, 0.0 of gradients", report)
    assert "reading them and evaluation take further time" in report
    assert report.endswith("\npublished: top-1 error 1.5 % (as told; hearsay)")
    slow = dataclasses.replace(found, seconds_a_step=7200.0, assumed=True).report()
    assert "3.8 days in all" in slow
    assert "360 to evaluate on (ILSVRC-2012's sizes, assumed" in slow
    assert not list(tmp_path.iterdir())


def test_ilsvrc_need_not_be_prepared_yet(tmp_path):
    config = DataConfig(name="tfds:imagenet2012", data_dir=str(tmp_path), evaluation_crop=CenterCrop())
    data, assumed = data_or_stand_in(config)
    assert assumed
    assert (data.train.size, data.evaluation.size, len(data.class_names)) == (1_281_167, 50_000, 1000)
    for other in ({"name": "tfds:mnist"}, {"train_split": "train[:1000]"}):
        with pytest.raises(UserError, match="is not prepared in"):
            data_or_stand_in(dataclasses.replace(config, **other))


def test_what_does_not_fit_is_said_in_a_sentence(monkeypatch, one_device):
    def refuse(lowered, compiler_options=None):
        raise jax.errors.JaxRuntimeError(said)

    monkeypatch.setattr(jax.stages.Lowered, "compile", refuse)
    config = load_config(RECIPES / "tiny.py")
    said = "RESOURCE_EXHAUSTED: Ran out of memory"
    with pytest.raises(DoesNotFit, match=r"does not fit in a device's memory at data.batch_size 64: lower it"):
        dry_run(config, one_device)
    said = "INTERNAL: something else"
    with pytest.raises(jax.errors.JaxRuntimeError, match="something else"):
        dry_run(config, one_device)


def test_a_gpu_that_is_not_there_has_limits(monkeypatch, one_device):
    """Its compiler refuses nothing."""
    memory = module.Memory(held={"batch": 300}, gradients=0, temporaries=700, program=24)
    monkeypatch.setattr(module, "compile_step", lambda assembly: (None, memory))
    monkeypatch.setattr(module, "usable_memory", lambda device: 1023)
    with pytest.raises(DoesNotFit, match=r"does not fit in a device's memory at data.batch_size 64: lower it"):
        dry_run(load_config(RECIPES / "tiny.py"), one_device)


@pytest.mark.parametrize(("fits", "found"), [(1600, 1), (799, 4), (400, 4), (25, 64)])
def test_the_fewest_micro_batches_that_fit(fits, found, monkeypatch, one_device):
    def pretend(config, devices):
        assert devices is one_device
        if config.data.batch_size // config.parallel.micro_batches > fits:
            raise DoesNotFit
        return config.parallel.micro_batches

    monkeypatch.setattr(module, "dry_run", pretend)
    config = load_config("nasnet_a_mobile_imagenet")
    assert with_fewest_micro_batches(config, one_device) == found
    fits = 24  # 1600 images cannot be halved more often than six times
    with pytest.raises(DoesNotFit):
        with_fewest_micro_batches(config, one_device)


def test_steps_are_timed_on_noise_where_the_data_set_is_streamed(one_device):
    config = load_config(RECIPES / "tiny.py")
    data = dataclasses.replace(config.data, residence="stream", batch_size=8)
    assembly = module.assemble(dataclasses.replace(config, data=data), None, one_device)
    noise, real = module.first_batch(assembly), next(assembly.train_feed.training(0, 1))
    for batch in (real, assembly.train_feed.abstract):
        assert {name: (leaf.shape, leaf.dtype) for name, leaf in noise.items()} == {
            name: (leaf.shape, leaf.dtype) for name, leaf in batch.items()
        }
    assert noise["label"].max() < 10
    assert noise["image"].std() > 50
