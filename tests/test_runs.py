"""Whole runs, in process: what they leave, how they go on, what they refuse."""

import dataclasses
import json
import os
import signal
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rich.console

from jaxcnn import assembly, loading, runs
from jaxcnn.cli.main import main
from jaxcnn.config import (
    CheckpointConfig,
    ConfigError,
    DataConfig,
    EMAConfig,
    EvaluationConfig,
    ModelConfig,
    Normalization,
    Pad,
    ParallelConfig,
    PublishedConfig,
    RandomErasing,
    RandomResizedCrop,
    RandomRotation,
    Resize,
)
from jaxcnn.devices.parallel import DataParallel
from jaxcnn.errors import UserError
from jaxcnn.evaluation.evaluator import Evaluator
from jaxcnn.evaluation.result import Result
from jaxcnn.recipes import load_config
from jaxcnn.training.checkpoint import Checkpoints
from jaxcnn.training.loop import TrainingError
from jaxcnn.training.manifest import read_manifest, write_manifest
from jaxcnn.training.report import read_metrics
from jaxcnn.trials.interruption import OF_A_SITTING, TIMES

RECIPES = Path(__file__).parent / "recipes"


@pytest.fixture(autouse=True)
def _few_devices(monkeypatch, one_device):
    """One device, unless a test says otherwise."""
    monkeypatch.setattr(DataParallel, "over_all_devices", lambda: one_device)


def tiny(**changes):
    return dataclasses.replace(load_config(RECIPES / "tiny.py"), **changes)


def run(config, workdir):
    with (workdir.parent / "output.txt").open("a") as file:
        return runs.train(config, workdir, console=rich.console.Console(file=file, width=200))


def final_state(workdir):
    return jax.tree.map(np.asarray, loading.restore_state(workdir).state)


def assert_same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def lines(workdir):
    """The lines of a run's log, without times, and without the line that each process begins with."""
    return [
        {name: value for name, value in line.items() if name not in TIMES}
        for line in read_metrics(workdir / "metrics.jsonl")
        if line["kind"] not in OF_A_SITTING
    ]


def stop_after(monkeypatch, step):
    """Has a run get SIGTERM after a step; returns the function that ends this."""
    advance = runs.Reporter.advance

    def advance_and_stop(self, now):
        advance(self, now)
        if now == step:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(runs.Reporter, "advance", advance_and_stop)
    return lambda: monkeypatch.setattr(runs.Reporter, "advance", advance)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, monkeypatch_module):
    """An uninterrupted run."""
    workdir = tmp_path_factory.mktemp("run") / "tiny"
    return workdir, run(tiny(), workdir)


@pytest.fixture(scope="module")
def monkeypatch_module():
    with pytest.MonkeyPatch.context() as patch:
        one = DataParallel.over(jax.devices()[:1])
        patch.setattr(DataParallel, "over_all_devices", lambda: one)
        yield patch


def test_what_a_run_leaves(finished):
    workdir, result = finished
    left = {"config.json", "data.json", "lowerings.json", "metrics.jsonl", "tensorboard", "checkpoints"}
    assert {path.name for path in workdir.iterdir()} == left
    assert list((workdir / "tensorboard").iterdir())
    config = load_config(workdir)
    assert config.model.num_classes == 10  # resolved
    assert config == dataclasses.replace(tiny(), model=config.model)
    assert result.images == 360

    lines = read_metrics(workdir / "metrics.jsonl")
    start, *rest = lines
    assert start["kind"] == "start"
    assert start["training_images"] == 1437
    assert start["class_names"] == list("0123456789")
    training = [line for line in rest if line["kind"] == "train"]
    steps = 45  # ceil(2 * 1437 / 64)
    assert sum(line["images"] for line in training) == steps * 64
    assert {line["step"] for line in training} == {*range(3, steps + 1, 3), 23}
    assert [line["step"] for line in rest if line["kind"] == "evaluation"] == [23, 45]
    assert training[-1]["loss"] < training[0]["loss"]
    assert training[0]["learning_rate"] == pytest.approx(0.1 * 2 / 12)
    assert 0 <= training[0]["data_wait_share"] <= 1
    output = (workdir.parent / "output.txt").read_text()
    assert "optimizer.schedule.warmup_epochs = 0.5" in output
    assert str(result) in output


def test_a_finished_run_measures_the_same_again(finished):
    workdir, result = finished
    before = (workdir / "metrics.jsonl").read_text()
    assert run(tiny(), workdir) == result
    lines = (workdir / "metrics.jsonl").read_text().removeprefix(before).splitlines()
    assert [json.loads(line)["kind"] for line in lines] == ["start"]
    network = loading.load(str(workdir))
    for batch_size in (7, 360, 1000):
        assert network.evaluate(network.data, batch_size=batch_size, top_k=(1, 5)).errors == result.errors


def test_a_run_is_a_function_of_its_seed(finished, tmp_path):
    workdir, result = finished
    assert run(tiny(), tmp_path / "again") == result
    assert_same(final_state(tmp_path / "again"), final_state(workdir))
    run(tiny(seed=1), tmp_path / "other")
    with pytest.raises(AssertionError):
        assert_same(final_state(tmp_path / "other").params, final_state(workdir).params)


@pytest.mark.slow
def test_augmentations_may_change_the_images_size(tmp_path):
    """LeNet's dense layers take one size only: that of the augmented images, in training and after it; in float16."""
    data = dataclasses.replace(tiny().data, train_crop=Resize(size=20), evaluation_crop=Resize(size=16))
    augmentations = (RandomResizedCrop(size=16, scale=(0.5, 1.0)), RandomErasing())
    model = ModelConfig(name="lenet", lowering="xla", dtype="float16")
    config = tiny(epochs=0.6, model=model, data=data, augmentations=augmentations)
    result = run(config, tmp_path / "run")
    network = loading.load(str(tmp_path / "run"))
    assert network.evaluate(network.data, batch_size=100, top_k=(1, 5)).errors == result.errors
    with pytest.raises(UserError, match=r"images of 16x16x1 .* do not fit this network"):
        run(dataclasses.replace(config, augmentations=()), tmp_path / "other")


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_signal_saves_and_the_run_goes_on_to_the_same_bits(finished, tmp_path, monkeypatch, number):
    workdir, result = finished
    handler, advance = signal.getsignal(number), runs.Reporter.advance

    def interrupt_after_step_ten(self, step):
        advance(self, step)
        if step == 10:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(runs.Reporter, "advance", interrupt_after_step_ten)
    assert run(tiny(), tmp_path / "run") is None
    assert loading.restore_state(tmp_path / "run").step == 10
    monkeypatch.setattr(runs.Reporter, "advance", advance)
    assert run(tiny(), tmp_path / "run") == result
    assert_same(final_state(tmp_path / "run"), final_state(workdir))
    assert signal.getsignal(number) == handler
    # A line is due after every third step, and the run went on from the tenth.
    assert lines(tmp_path / "run") == lines(workdir)


def test_a_signal_in_evaluation_saves_and_the_evaluation_is_made_later(finished, tmp_path, monkeypatch):
    workdir, result = finished
    results = Evaluator.results

    def interrupted(*args, **kwargs):
        os.kill(os.getpid(), signal.SIGTERM)
        return results(*args, **kwargs)

    monkeypatch.setattr(Evaluator, "results", interrupted)
    assert run(tiny(), tmp_path / "run") is None
    saved = loading.restore_state(tmp_path / "run")
    assert (saved.step, saved.metrics) == (23, {})
    monkeypatch.setattr(Evaluator, "results", results)
    assert run(tiny(), tmp_path / "run") == result
    assert_same(final_state(tmp_path / "run"), final_state(workdir))
    steps = [line["step"] for line in read_metrics(tmp_path / "run/metrics.jsonl") if line["kind"] == "evaluation"]
    assert steps == [23, 45]


def test_a_damaged_newest_checkpoint_is_named_and_the_one_before_used(finished, tmp_path):
    workdir, result = finished
    run(tiny(), tmp_path / "run")
    newest = tmp_path / "run/checkpoints/45"
    largest = max((path for path in newest.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)
    assert run(tiny(), tmp_path / "run") == result
    output = (tmp_path / "output.txt").read_text()
    assert f"{largest.relative_to(newest)} is not what was written: its SHA-256 differs" in output
    assert "checkpoint 44 is used instead" in output
    assert "going on from step 44 of 45" in output
    assert_same(final_state(tmp_path / "run"), final_state(workdir))


@pytest.mark.slow
def test_a_moving_average_is_kept_measured_and_restored(finished, tmp_path, monkeypatch):
    workdir, _ = finished
    config = tiny(ema=EMAConfig(decay=0.9, every_steps=2), epochs=0.7)
    advance = runs.Reporter.advance

    def interrupt_after_step_seven(self, step):
        advance(self, step)
        if step == 7:
            os.kill(os.getpid(), signal.SIGTERM)

    result = run(config, tmp_path / "whole")
    assert result.ema.errors != result.errors
    monkeypatch.setattr(runs.Reporter, "advance", interrupt_after_step_seven)
    assert run(config, tmp_path / "run") is None
    monkeypatch.setattr(runs.Reporter, "advance", advance)
    assert run(config, tmp_path / "run") == result
    restored = loading.restore_state(tmp_path / "run")
    assert Result.from_metrics(restored.metrics) == result
    assert_same(restored.state, final_state(tmp_path / "whole"))
    assert final_state(workdir).ema == {}

    last = [line for line in read_metrics(tmp_path / "run/metrics.jsonl") if line["kind"] == "evaluation"][-1]
    assert last["top1_error"] == result.errors[1]
    assert last["ema_top1_error"] == result.ema.errors[1]
    assert last["ema_loss"] == result.ema.loss
    assert f"EMA: top-1 error {result.ema.errors[1]:.2f} %" in (tmp_path / "output.txt").read_text()
    network = loading.load(str(tmp_path / "run"), weights_of="ema")
    assert network.evaluate(network.data, batch_size=100, top_k=(1, 5)).errors == result.ema.errors
    ranked_by, restore = [], Checkpoints.restore
    monkeypatch.setattr(
        Checkpoints, "restore", lambda self, *args, metric: ranked_by.append(metric) or restore(self, *args)
    )
    for weights_of in ("raw", "ema"):
        loading.load(str(tmp_path / "run"), checkpoint="best", weights_of=weights_of)
    assert ranked_by == ["top1_error", "ema_top1_error"]
    with pytest.raises(ConfigError, match=r"tiny keeps no moving average: take its raw weights"):
        loading.load(str(workdir), weights_of="ema")


def poison(monkeypatch, epoch, positions):
    """Has a run's augmentation put NaN into the images at these positions of an epoch."""
    augmentation_keys, augment = assembly.augmentation_keys, assembly.augment

    def keys_and_bad(key, batch):
        return augmentation_keys(key, batch), (batch["epoch"] == epoch) & jnp.isin(
            batch["position"], jnp.array(positions)
        )

    def poisoned(keys, *rest):
        keys, bad = keys
        images, labels = augment(keys, *rest)
        return jnp.where(bad[:, None, None, None], jnp.nan, images), labels

    monkeypatch.setattr(assembly, "augmentation_keys", keys_and_bad)
    monkeypatch.setattr(assembly, "augment", poisoned)


def test_bad_steps_are_undone_and_counted(tmp_path, monkeypatch):
    poison(monkeypatch, 0, [64 * 3 + 5, 64 * 7, 64 * 8])
    run(tiny(epochs=0.7), tmp_path / "run")
    training = [line for line in read_metrics(tmp_path / "run/metrics.jsonl") if line["kind"] == "train"]
    assert {line["step"]: line["bad_steps"] for line in training if line["bad_steps"]} == {6: 1, 9: 2}
    assert [line["images"] for line in training[:3]] == [192, 128, 64]
    assert all(np.isfinite(line["loss"]) for line in training)
    assert "2 steps not finite and undone" in (tmp_path / "output.txt").read_text()


@pytest.mark.slow
def test_an_interruption_loses_no_bad_step_and_no_count_of_those_in_a_row(tmp_path, monkeypatch):
    poison(monkeypatch, 0, [64 * step for step in (7, 9, 10, 11)])
    config = tiny(epochs=0.7, max_bad_steps=4)
    run(config, tmp_path / "whole")
    go_on = stop_after(monkeypatch, 11)
    assert run(config, tmp_path / "run") is None
    go_on()
    run(config, tmp_path / "run")
    assert lines(tmp_path / "run") == lines(tmp_path / "whole")
    found = {line["step"]: line["bad_steps"] for line in lines(tmp_path / "run") if line.get("bad_steps")}
    assert found == {9: 1, 12: 3}
    # Three in a row are too many for this one, which is interrupted after two.
    config = tiny(epochs=0.7, max_bad_steps=3)
    go_on = stop_after(monkeypatch, 11)
    assert run(config, tmp_path / "other") is None
    go_on()
    with pytest.raises(TrainingError, match="by step 12, 3 steps in a row"):
        run(config, tmp_path / "other")


@pytest.mark.slow
def test_a_checkpoint_without_sums_goes_on_as_those_of_earlier_releases(finished, tmp_path, monkeypatch):
    workdir, result = finished
    go_on = stop_after(monkeypatch, 10)
    assert run(tiny(), tmp_path / "run") is None
    go_on()
    newest = tmp_path / "run/checkpoints/10"
    written = {name: part for name, part in read_manifest(newest).items() if name != "sums"}
    write_manifest(newest / "manifest.json", written)
    assert run(tiny(), tmp_path / "run") == result
    assert_same(final_state(tmp_path / "run"), final_state(workdir))
    found, expected = lines(tmp_path / "run"), lines(workdir)
    [differing] = [index for index, line in enumerate(expected) if line != found[index]]
    assert (expected[differing]["step"], found[differing]["images"]) == (12, 2 * 64)


@pytest.mark.slow
def test_settings_of_jax_change_no_bit_of_a_run(finished, tmp_path):
    workdir, result = finished
    with (
        jax.enable_x64(True),
        jax.numpy_dtype_promotion("strict"),
        jax.default_prng_impl("rbg"),
        jax.threefry_partitionable(False),
    ):
        assert run(tiny(), tmp_path / "run") == result
        assert jax.config.jax_enable_x64
        state = final_state(tmp_path / "run")
        network = loading.load(str(tmp_path / "run"))
        assert network.evaluate(network.data, batch_size=100, top_k=(1, 5)).errors == result.errors
        predicted = network.predict([np.zeros((8, 8, 1), np.uint8)], 1)
    assert_same(state, final_state(workdir))
    assert lines(tmp_path / "run") == lines(workdir)
    assert loading.load(str(workdir)).predict([np.zeros((8, 8, 1), np.uint8)], 1) == predicted


@pytest.mark.parametrize("log_every_steps", [3, 1000])
def test_too_many_bad_steps_in_a_row_stop_the_run(tmp_path, monkeypatch, log_every_steps):
    poison(monkeypatch, 0, [64 * step for step in (2, 3, 5, 6, 7, 8)])
    sentence = r"^by step \d+, 4 steps in a row had a loss or gradient that is not finite: lower"
    with pytest.raises(TrainingError, match=sentence):
        run(tiny(max_bad_steps=4, log_every_steps=log_every_steps), tmp_path / "run")
    training = [line for line in read_metrics(tmp_path / "run/metrics.jsonl") if line["kind"] == "train"]
    assert sum(line["bad_steps"] for line in training) == 6
    assert 9 <= training[-1]["step"] <= 12
    assert loading.restore_state(tmp_path / "run").step == 8


@pytest.mark.slow
def test_stream_and_device_train_the_same(finished, tmp_path):
    workdir, result = finished
    config = tiny()
    streamed = dataclasses.replace(config, data=dataclasses.replace(config.data, residence="stream", workers=3))
    assert run(streamed, tmp_path / "run").errors == result.errors
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
        final_state(tmp_path / "run").params,
        final_state(workdir).params,
    )


def test_eight_devices_train_as_one(finished, tmp_path, monkeypatch):
    workdir, _ = finished
    monkeypatch.setattr(
        DataParallel,
        "over_all_devices",
        lambda: DataParallel.over(jax.devices()),
    )
    result = run(tiny(epochs=1.0, parallel=ParallelConfig(shard_optimizer=True)), tmp_path / "eight")
    assert result.images == 360
    # The schedules part after warm-up, so the first line of the logs is of the same training.
    first, expected = (
        next(line for line in read_metrics(folder / "metrics.jsonl") if line["kind"] == "train")
        for folder in (tmp_path / "eight", workdir)
    )
    assert first["loss"] == pytest.approx(expected["loss"], rel=1e-4)


def test_predict_names_the_digit(finished, tmp_path):
    from PIL import Image
    from sklearn.datasets import load_digits

    workdir, _ = finished
    digits = load_digits()
    paths = []
    for index in range(3):
        paths.append(tmp_path / f"{index}.png")
        Image.fromarray(np.round(digits.images[index] * 255 / 16).astype(np.uint8)).save(paths[-1])
    network = loading.load(str(workdir))
    predictions = network.predict(paths, 10)
    for row in predictions:
        probabilities = [probability for _, probability in row]
        assert sum(probabilities) == pytest.approx(1, abs=1e-5)
        assert probabilities == sorted(probabilities, reverse=True)
        assert {name for name, _ in row} == set("0123456789")
    assert network.predict(paths, 11) == predictions
    with pytest.raises(UserError, match="the 0 most probable classes are none: ask for at least 1"):
        network.predict(paths, 0)
    (tmp_path / "no.png").write_text("no")
    with pytest.raises(UserError, match=r"no.png is not an image"):
        network.predict([tmp_path / "no.png"], 1)
    with pytest.raises(UserError, match=r"gone.png cannot be read"):
        network.predict([tmp_path / "gone.png"], 1)


def three_classes(**changes):
    data = dataclasses.replace(tiny().data, name="synthetic:3")
    return tiny(epochs=0.6, data=data, checkpoint=CheckpointConfig(keep=1), **changes)


@pytest.mark.slow
def test_few_classes_are_measured_by_the_k_that_say_something(tmp_path, capsys):
    result = run(three_classes(), tmp_path / "run")
    assert set(result.errors) == {1}
    assert load_config(tmp_path / "run").evaluation.top_k == (1,)
    assert run(three_classes(), tmp_path / "run") == result  # the recipe's own (1, 5) is the same run
    network = loading.load(tmp_path / "run")
    assert network.evaluate().errors == result.errors
    assert [len(answer) for answer in network.predict([np.zeros((8, 8), np.uint8)])] == [3]
    assert main(["evaluate", str(tmp_path / "run")]) == 0
    captured = capsys.readouterr()
    assert "top-1 error" in captured.out
    assert "top-5" not in captured.out
    assert "the top-5 error of 3 classes is always 0, and is left out" in captured.err
    with pytest.raises(UserError, match="the top-5 error of 3 classes is always 0: ask for k = 1"):
        run(three_classes(evaluation=EvaluationConfig(top_k=(5,))), tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_the_first_of_the_errors_asked_for_makes_the_best(tmp_path):
    config = three_classes(evaluation=EvaluationConfig(top_k=(2,)))
    result = run(config, tmp_path / "run")
    assert set(result.errors) == {2}
    assert loading.load(tmp_path / "run", checkpoint="best").evaluate(top_k=(2,)).errors == result.errors


def with_data(**changes):
    config = tiny()
    return dataclasses.replace(config, data=dataclasses.replace(config.data, **changes))


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (lambda: tiny(model=ModelConfig(name="tinny")), "there is no model 'tinny': did you mean 'tiny'"),
        (lambda: tiny(model=ModelConfig(name="tiny", options={"dropout": 0.1})), "no option 'dropout': did you mean"),
        (lambda: tiny(model=ModelConfig(name="tiny", num_classes=3)), "num_classes is 3, and the data set has 10"),
        (lambda: tiny(evaluation=EvaluationConfig(top_k=(10,))), "the top-10 error of 10 classes is always 0"),
        (lambda: with_data(name="digit"), "'digit' is not a data set: did you mean 'digits'"),
        (
            lambda: tiny(normalization=Normalization(mean=(0.5, 0.5), std=(1.0,))),
            "normalization.mean has 2 values, and images have 1 channels",
        ),
        (
            lambda: tiny(augmentations=(RandomRotation(fill=(1, 2, 3)),)),
            "fill has 3 levels, and images have 1 channels: give one for each channel",
        ),
        (
            lambda: dataclasses.replace(with_data(evaluation_crop=Resize(size=7)), model=ModelConfig(name="lenet")),
            "images of 8x8 pixels are too small for the strides of LeNet: give at least 16x16",
        ),
        (
            lambda: dataclasses.replace(
                with_data(train_crop=Pad(size=32), evaluation_crop=Pad(size=28)), model=ModelConfig(name="lenet")
            ),
            r"images of 28x28x1 \(data.evaluation_crop, data.channels\) do not fit this network",
        ),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(config, sentence, tmp_path):
    with pytest.raises(UserError, match=sentence):
        run(config(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_another_config_in_the_same_folder_is_refused_but_not_for_what_others_published(finished):
    workdir, result = finished
    assert run(tiny(published=PublishedConfig(top1_error=1.0, source="somebody")), workdir) == result
    before = (workdir / "metrics.jsonl").read_text()
    with pytest.raises(ConfigError, match=r"tiny holds a run of another config, in which seed is 0 and not 9"):
        run(tiny(seed=9), workdir)
    assert (workdir / "metrics.jsonl").read_text() == before


def test_a_batch_that_devices_cannot_share_is_refused():
    with pytest.raises(UserError, match=r"data.batch_size 12 cannot be split over 8 devices: use 8 or 16"):
        DataParallel.over(jax.devices()).check_batch_size("data.batch_size", 12)


def test_a_data_set_of_other_classes_is_refused(finished):
    network = loading.load(str(finished[0]))
    synthetic = DataConfig(name="synthetic:12", channels=1, evaluation_crop=Resize(size=8))
    with pytest.raises(UserError, match="has 12 classes, and the network 10"):
        network.evaluate(synthetic, batch_size=8, top_k=(1,))
