import subprocess
import sys

import jax.numpy as jnp
import pytest

from jaxcnn.benchmarks import timing
from jaxcnn.benchmarks.convolutions import candidates, dearest_shapes, network_convolutions, time_convolution
from jaxcnn.benchmarks.timing import take_turns
from jaxcnn.config import ConfigError, ModelConfig
from jaxcnn.networks import make_model
from jaxcnn.ops.conv_shape import ConvShape
from jaxcnn.ops.lowering_rules import TunedLowerings, automatic, read_tuned, write_tuned
from jaxcnn.ops.rules import DIRECTIONS, Lowerings
from jaxcnn.tables.networks import describe

SHAPE = ConvShape((2, 8, 8, 4), (3, 3, 2, 4), padding=((1, 1), (1, 1)), groups=2)


@pytest.mark.parametrize("name", ["resnet50", "efficientnet_b0", "lenet"])
def test_a_networks_convolutions_are_all_found(name):
    found = network_convolutions(name, 2)
    # What convolutions leave over are dense layers: few multiply-adds, and at least the classifier's.
    total, convolutions = describe(name).multiply_adds, sum(s.multiply_adds * n for s, n in found.items()) // 2
    assert 0.85 * total < convolutions < total
    assert {shape.images[0] for shape in found} == {2}


def test_resnet50_has_53():
    found = network_convolutions("resnet50", 1)
    assert sum(found.values()) == 53
    stem, times = next(iter(found.items()))
    assert (stem.images, stem.kernel, stem.strides, stem.size, times) == (
        (1, 224, 224, 3),
        (7, 7, 3, 64),
        (2, 2),
        (112, 112),
        1,
    )


def test_the_dearest_are_not_those_of_most_arithmetic_alone():
    """A depthwise multiply-add takes many times as long as one of a dense convolution."""
    shapes = [shape for shape, _ in dearest_shapes("convnext_tiny", 2, count=4)]
    assert all(shape.depthwise for shape in shapes)
    assert dearest_shapes("lenet", 2, count=1)[0][1] == 1


def test_every_direction_is_timed_under_what_auto_takes_too():
    timings = time_convolution(SHAPE, rounds=1)
    assert [each.direction for each in timings] == list(DIRECTIONS)
    for each in timings:
        assert each.chosen in each.seconds
        assert each.ratio >= 1
        assert each.seconds[each.best] == min(each.seconds.values())
        assert each.gigaflops(each.best) > 0


def test_auto_is_among_the_candidates_of_every_convolution():
    for name in ("resnext50_32x4d", "regnet_y_400mf", "convnext_tiny"):
        for shape in network_convolutions(name, 16):
            for direction in DIRECTIONS:
                assert getattr(automatic("cpu", shape), direction) in candidates(shape, direction)


def test_accelerators_choose_for_themselves():
    assert automatic("gpu", SHAPE) == automatic("tpu", SHAPE) == ("xla", "xla", "xla")


def test_a_tuned_file_is_a_lowering(tmp_path):
    tuned = TunedLowerings(((SHAPE, Lowerings("gemm", "shift", "dense")),))
    write_tuned(tmp_path / "tuned.json", tuned)
    assert read_tuned(tmp_path / "tuned.json") == tuned
    assert make_model(ModelConfig(name="lenet", lowering=str(tmp_path / "tuned.json")), 10).lowering == tuned
    assert make_model(ModelConfig(name="lenet", lowering="gemm"), 10).lowering == "gemm"


@pytest.mark.parametrize("content", ["", "3", "[{}]", '[{"shape": {}, "lowerings": {}}]', '[{"shape": 3}]'])
def test_other_files_are_not(tmp_path, content):
    (tmp_path / "t.json").write_text(content)
    with pytest.raises(ConfigError, match=r"model.lowering .* nor a file of tuned ones: .*t.json is not a table"):
        make_model(ModelConfig(name="lenet", lowering=str(tmp_path / "t.json")), 10)
    with pytest.raises(ConfigError, match=r"model.lowering 'gem' is neither a lowering \(did you mean 'gemm'"):
        make_model(ModelConfig(name="lenet", lowering="gem"), 10)


def test_take_turns_interleaves(monkeypatch):
    monkeypatch.setattr(timing, "TURN", 0.0)
    calls = []

    def candidate(name):
        return lambda: calls.append(name) or jnp.zeros(())

    medians = take_turns({name: candidate(name) for name in "ab"}, rounds=3)
    assert calls == list("ab" * 4)  # a warm-up round, and three
    assert set(medians) == {"a", "b"}


def test_freed_memory_is_kept_where_there_is_glibc():
    code = "from jaxcnn.devices.memory import keep_freed_memory; print(keep_freed_memory())"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
    assert found == str(sys.platform.startswith("linux"))
