"""Rules that are fitted to timings."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxcnn.benchmarks.convolutions import Timing
from jaxcnn.benchmarks.rounds import Rounds
from jaxcnn.benchmarks.tuning import fit, fixed_set, geometric_mean, time_fixed_set
from jaxcnn.cli.main import main
from jaxcnn.ops.conv_shape import ConvShape
from jaxcnn.ops.lowering_rules import read_rules, tuned_file
from jaxcnn.ops.lowerings import LOWERINGS
from jaxcnn.ops.rules import DIRECTIONS, KINDS, Split, built_in, differing, earlier, kind_of
from jaxcnn.processor import this_processor

BEFORE = earlier()
TINY = ConvShape((1, 6, 6, 16), (3, 3, 16, 4))


def dense(height, channels=64):
    return ConvShape((4, height, height, channels), (5, 5, channels, channels), padding=((2, 2), (2, 2)))


def timing(shape, direction="forward", **seconds):
    return Timing(shape, direction, Rounds({name: [each] * 3 for name, each in seconds.items()}))


def test_the_fixed_set_has_all_kinds_at_its_beginning():
    shapes = fixed_set()
    assert {kind_of(shape) for shape in shapes[: len(KINDS)]} == set(KINDS)
    assert len(set(shapes)) == len(shapes)
    assert all(min(shape.size) > 0 for shape in shapes)


def test_a_threshold_is_found_between_the_shapes_that_differ():
    timings = [timing(dense(height), xla=1.0, gemm=0.5, shift=2.0) for height in (7, 14)]
    timings += [timing(dense(height), xla=1.0, gemm=3.0, shift=2.0) for height in (28, 56)]
    found = fit(timings, BEFORE)
    assert found.of("dense").forward == Split("height", 19, "gemm", "xla")
    assert list(differing(BEFORE, found)) == [("dense", "forward")]
    assert found.choose(dense(10)).forward == "gemm"
    assert geometric_mean(timings, found) == 1
    assert geometric_mean(timings, BEFORE) > 1.1


def test_one_lowering_is_a_rule_and_a_rule_stays_unless_another_is_clearly_better():
    assert fit([timing(dense(28), shift=1.0, xla=2.0)], BEFORE).of("dense").forward == "shift"
    assert fit([timing(dense(28), shift=1.0, xla=1.01)], BEFORE) == BEFORE
    assert fit([], BEFORE) == BEFORE


def test_a_lowering_that_was_not_timed_is_not_chosen():
    found = fit([timing(dense(7), gemm=1.0, xla=0.5), timing(dense(56), shift=0.4, xla=0.5)], BEFORE)
    assert found.choose(dense(7)).forward == "xla"


SECONDS = st.fixed_dictionaries({name: st.floats(0.1, 10) for name in ("xla", "gemm", "shift")})


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([7, 14, 28, 56]), st.sampled_from([16, 64, 256]), SECONDS), max_size=8))
def test_fitted_rules_are_never_worse_for_what_they_are_fitted_to(rows):
    timings = [timing(dense(height, channels), **seconds) for height, channels, seconds in rows]
    found = fit(timings, BEFORE)
    assert geometric_mean(timings, found) <= geometric_mean(timings, BEFORE) + 1e-9
    assert not set(differing(BEFORE, found)) - {("dense", "forward")}


def test_no_convolution_begins_after_the_time():
    said = []
    found = time_fixed_set([TINY, dense(56)], rounds=1, seconds=0, say=said.append)
    assert [(each.shape, each.direction) for each in found] == [(TINY, direction) for direction in DIRECTIONS]
    assert said[-1] == "the 0 s are over: 1 of 2 convolutions are not timed"


def test_a_networks_table_needs_a_file(capsys):
    assert main(["tune", "--network", "lenet"]) == 2
    assert capsys.readouterr().err == (
        "error: the lowerings of lenet are kept in a file of their own: name one by --out\n"
    )


@pytest.mark.slow
def test_the_command_keeps_rules_that_auto_follows(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("JAXCNN_CACHE", str(tmp_path))
    assert main(["tune", "--seconds", "0", "--rounds", "3", "--spread", "100"]) == 0
    output = capsys.readouterr().out.splitlines()
    assert "vectors of" in output[0]
    assert "GFLOP/s" in output[0]
    assert list((tmp_path / "lowerings").iterdir()) == [tuned_file()]
    about, rules = read_rules(tuned_file().read_text())
    assert about["measured"] == "3 timings of the fixed set"
    assert about["lowerings"] == list(LOWERINGS)
    (kind,) = {kind for kind, _ in differing(built_in(this_processor().vector_bits), rules)} or {"dense"}
    assert kind == kind_of(fixed_set()[0])
    assert output[-1].startswith(f"{tuned_file()}: auto takes 1.")


@pytest.mark.slow
def test_a_networks_table_is_a_lowering(tmp_path):
    file = tmp_path / "tuned.json"
    assert main(["tune", "--network", "lenet", "--batch", "2", "--rounds", "1", "--out", str(file)]) == 0
    assert len(json.loads(file.read_text())) == 2
