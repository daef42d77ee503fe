"""The report, from steps that are made by hand instead of compiled; and the file that keeps them."""

import dataclasses
import json

import pytest

from jaxcnn.devices.machines import machine
from jaxcnn.errors import UserError
from jaxcnn.laboratory import scaling_report as module
from jaxcnn.laboratory.dry_run import DoesNotFit
from jaxcnn.laboratory.kept_steps import Kept, key_of
from jaxcnn.laboratory.published import runs_of
from jaxcnn.laboratory.scaling import Exchange, Scaling, Step
from jaxcnn.laboratory.scaling_lines import Prices, report_lines, simulated_lines
from jaxcnn.laboratory.scaling_report import Chips, Variant, compare, make_report
from jaxcnn.laboratory.simulated import Work, predicted
from jaxcnn.recipes import load_config

GLOBAL, SHARDED = Variant("global", False), Variant(2, True)
COUNTS = (1, 8, 64, 4096)


def resnet50():
    config = load_config("resnet50_imagenet")
    return dataclasses.replace(config, model=dataclasses.replace(config.model, dtype="bfloat16"))


@pytest.fixture
def compiled(monkeypatch, one_device):
    """Lets steps take 0.1 ms for each image, of which 300 fit; yields what is compiled, and the chips."""
    asked = []

    def pretend(config, data, topology, known, batch):
        asked.append((config.parallel.batch_norm, config.parallel.shard_optimizer, batch))
        if batch > 300:
            raise DoesNotFit(f"{batch} images do not fit")
        return Step(batch, (1e-4 * batch,), (Exchange("all-reduce", 50_000_000, None, blocking=False),), 10**9)

    monkeypatch.setattr(module, "compile_for", pretend)
    return asked, Chips(one_device, "h100:8", machine("h100"))


def test_a_report_compiles_a_few_steps_and_predicts_for_many_chips(compiled, tmp_path):
    asked, chips = compiled
    options = {"counts": COUNTS, "weak": (32, 256), "strong": (4096,), "variants": (GLOBAL, SHARDED)}
    report = make_report(resnet50(), chips, Kept(tmp_path / "kept.json"), published=True, **options)
    # 4,096 images on one chip are more than the largest number on a chip that is asked for.
    assert asked == [
        *(("global", False, batch) for batch in (256, 32, 1)),
        *((2, True, batch) for batch in (256, 32, 1)),
        *(("local", False, batch) for batch in (400, 100, 16)),
    ]
    assert report.refused == ("400 images do not fit",)
    assert [(each.mode, each.images, len(each.predictions)) for each in report.series] == 2 * [
        ("weak", 32, 4),
        ("weak", 256, 4),
        ("strong", 4096, 2),
    ]
    assert report.images == 90 * 1_281_167
    text = "\n".join(report_lines(report, Prices(watts=1000, price_per_hour=2.0, input_rate=1000)))
    assert "predictions from published ceilings, and no measurements" in text
    assert "left out: 400 images do not fit" in text
    assert "weak scaling, 256 images on each chip, batch norm groups of 2, optimizer state spread (ZeRO-1):" in text
    # One chip takes 25.6 ms for 256 images: 10,000 images/s, 3.2 hours and kWh, and ten times the input.
    rows = [line.split() for line in text.splitlines()]
    alone = ["1", "10,000", "100%", "25.60", "0.00", "0.00", "3.2", "3.203", "6.406", "10,000", "10.00"]
    assert alone in rows
    assert "published runs, none of them ours" in text
    again = make_report(resnet50(), chips, Kept(tmp_path / "kept.json"), published=True, **options)
    assert len(asked) == 9
    assert again.to_json() == report.to_json()
    assert report.to_json()["kind"].startswith("predictions")


def test_no_chip_gets_images_that_its_devices_cannot_split(compiled):
    asked, chips = compiled
    config = resnet50()
    options = {"counts": (1, 2, 4, 8), "variants": (GLOBAL,), "published": False}
    halves = dataclasses.replace(chips, machine=machine("v3"))  # whose chips are two devices
    report = make_report(config, halves, Kept(None), weak=(4,), strong=(8,), **options)
    assert sorted(report.steps[GLOBAL]) == [2, 4]
    with pytest.raises(UserError, match=r"--images-per-chip 7 cannot .* which are 2 parts: use 6"):
        make_report(config, halves, Kept(None), weak=(7,), strong=(), **options)
    del asked[:]
    parts = dataclasses.replace(config, parallel=dataclasses.replace(config.parallel, micro_batches=3))
    with pytest.raises(UserError, match=r"--images-per-chip 1 cannot .* which are 3 parts: use 3"):
        make_report(parts, chips, Kept(None), weak=(1,), strong=(), **options)
    assert not asked


def test_efficiency_is_against_the_first_number_of_chips(compiled):
    _, chips = compiled
    report = make_report(
        resnet50(), chips, Kept(None), counts=COUNTS, weak=(32,), strong=(), variants=(GLOBAL,), published=False
    )
    (series,) = report.series
    first, *others = series.predictions
    assert series.efficiency(first) == (1, 1)
    for each in others:
        low, high = series.efficiency(each)
        assert low == pytest.approx(first.slowest / each.slowest)
        assert high == pytest.approx(first.fastest / each.fastest)
        assert low <= high <= 1


def test_published_runs_stand_beside_what_is_predicted_of_them():
    steps = {batch: Step(batch, (1e-4 * batch,), (), 0) for batch in (1, 100, 400)}
    runs = runs_of("resnet50", "h100", "bfloat16")
    found = compare(runs, Scaling(machine("h100"), steps))
    assert [each.run for each in found] == list(runs)
    first, *others = found
    assert first.anchored is None
    assert first.anchored_errors is None
    # Without communication a chip takes 0.1 ms for an image.
    for each in found:
        error = 10_000 * each.run.chips / each.run.images_per_second - 1
        assert each.errors == pytest.approx((error, error))
    for each in others:
        scaled = first.run.images_per_second * each.run.chips / first.run.chips
        assert each.anchored == pytest.approx((scaled, scaled))
        assert each.anchored_errors == pytest.approx([scaled / each.run.images_per_second - 1] * 2)
    # What is larger than every step that fits is left out.
    fitting = compare(runs, Scaling(machine("h100"), {batch: steps[batch] for batch in (1, 100)}))
    assert {each.run.batch_per_chip for each in fitting} == {16, 40, 42, 50, 100}


def test_four_pods_that_links_join_are_predicted_as_one():
    runs = [run for run in runs_of("resnet50", "v3", "bfloat16") if run.chips == 4096]
    step = Step(16, (1e-3,), (Exchange("all-reduce", 50_000_000, None, blocking=False),), 0)
    assert len(compare(runs, Scaling(machine("v3"), {16: step}))) == 2


def test_a_kept_step_is_found_by_all_that_it_depends_on(tmp_path, monkeypatch):
    config = resnet50()
    keys = [key_of(each.of(config), *rest) for each in (GLOBAL, SHARDED) for rest in (("h100:8", "h100", 32),)]
    keys += [key_of(config, "h100:4x8", "h100", 32), key_of(config, "h100:8", "a100", 32)]
    keys += [key_of(config, "h100:8", "h100", 64)]
    assert len(set(keys)) == 5
    renamed = dataclasses.replace(config, name="other", log_every_steps=1)
    assert key_of(renamed, "h100:8", "h100", 32) == keys[0]
    monkeypatch.setattr("jaxcnn.laboratory.kept_steps.digest_of_code", lambda parts: "another")
    assert key_of(config, "h100:8", "h100", 32) not in keys
    file = tmp_path / "folder" / "kept.json"
    kept = Kept(file)
    step = Step(1, (0.5,), (Exchange("all-gather", 3, 8, blocking=True),), 7)
    kept.put("a", step)
    kept.put("b", "it does not fit")
    kept.write({"recipe": "r"})
    again = Kept(file)
    again.write({"simulated": []})
    assert (again.get("a"), again.get("b"), again.get("c")) == (step, "it does not fit", None)
    assert json.loads(file.read_text())["recipe"] == "r"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "other"}', '{"format": "jaxcnn scaling-report 2"}'])
def test_another_file_is_not_written_over(text, tmp_path):
    file = tmp_path / "notes.json"
    file.write_text(text)
    with pytest.raises(UserError, match=r"notes\.json is no report that jaxcnn scaling-report wrote: choose another"):
        Kept(file)
    assert file.read_text() == text


def test_simulated_devices_share_the_cores():
    # One device computes 1e9 operations and exchanges nothing; two share them, and exchange 1 MB.
    whole = Work(((1e9, 0), (0, 1e6)), (), flops_per_s=1e11, bytes_per_s=1e9, latency=0.0)
    half = Work(((0.5e9, 0), (0, 0.5e6)), (1_000_000,), flops_per_s=7, bytes_per_s=7, latency=1e-4)
    assert whole.seconds == pytest.approx(0.011)
    one, two = predicted({1: whole, 2: half}, {1: 0.022, 2: 0.03}, {1: 8, 2: 4})
    assert one.predicted_seconds == one.seconds == 0.022
    assert one.error == 0
    assert two.exchange_seconds == pytest.approx(1e-4 + 3 * 2 * 1e6 / 1e9)
    assert two.predicted_seconds == pytest.approx(0.022 + two.exchange_seconds)
    assert two.error == pytest.approx(two.predicted_seconds / 0.03 - 1)
    lines = list(simulated_lines([one, two], weak=False))
    assert "share this machine's cores" in lines[0]
    assert lines[2].split() == ["1", "8", "0.00", "22.0", "22.0", "given"]
    assert lines[3].split() == ["2", "4", "1.00", "30.0", "28.1", "-6%"]
