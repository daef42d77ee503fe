"""The tables of rules that ``auto`` follows."""

import dataclasses
import hashlib
import json
import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxcnn.ops.conv_shape import ConvShape
from jaxcnn.ops.lowering_rules import automatic, followed, following, read_rules, rules_text, tuned_file
from jaxcnn.ops.lowerings import LOWERINGS
from jaxcnn.ops.rules import (
    BUILT_IN,
    DIRECTIONS,
    KINDS,
    MEASURES,
    Rules,
    Split,
    Trees,
    built_in,
    earlier,
    kind_of,
    words,
)
from jaxcnn.processor import this_processor


def conv(height, channels, kernel, features=64, strides=1, groups=1):
    return ConvShape(
        (2, height, height, channels), (kernel, kernel, channels // groups, features), (strides,) * 2, groups=groups
    )


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        (conv(56, 96, 7, 96, groups=96), "depthwise"),
        (conv(56, 96, 3, 96, 2, 96), "depthwise strided"),
        (conv(56, 128, 3, 128, groups=32), "grouped"),
        (conv(56, 128, 3, 128, 2, 32), "grouped strided"),
        (conv(56, 64, 1), "pointwise"),
        (conv(56, 64, 1, strides=2), "pointwise"),
        (conv(28, 1, 5), "narrow images"),
        (conv(224, 3, 7, strides=2), "few channels"),
        (conv(224, 3, 11, strides=4), "few channels in blocks"),
        (conv(224, 3, 3, strides=2), "few channels"),
        (conv(224, 3, 3), "few channels"),
        (conv(224, 3, 4, strides=4), "patches"),
        (conv(56, 96, 2, strides=2), "patches"),
        (conv(56, 64, 3), "dense 3x3"),
        (conv(56, 64, 5), "dense"),
        (dataclasses.replace(conv(56, 64, 3), dilation=(2, 2)), "dense"),
        (conv(56, 64, 3, strides=2), "dense strided"),
    ],
)
def test_kinds(shape, kind):
    assert kind_of(shape) == kind


TREES = st.recursive(
    st.sampled_from(sorted(LOWERINGS)),
    lambda inner: st.builds(Split, st.sampled_from(MEASURES), st.integers(1, 10**6), inner, inner),
    max_leaves=4,
)
TABLES = st.builds(Rules, st.tuples(*[st.builds(Trees, TREES, TREES, TREES)] * len(KINDS)))


@settings(max_examples=25, deadline=None)
@given(TABLES)
def test_a_table_is_what_its_text_says(rules):
    about, read = read_rules(rules_text({"processor": "x"}, rules))
    assert (about, read) == ({"processor": "x"}, rules)
    assert hash(read) == hash(rules)


def test_a_threshold_counts_as_small_and_a_symbol_as_large():
    rule = Split("height", 14, "gemm", Split("channels", 64, "shift", "xla"))
    rules = Rules(tuple(Trees(rule, rule, rule) for _ in KINDS))
    found = [rules.choose(conv(height, channels, 3)).forward for height, channels in ((14, 99), (15, 64), (15, 65))]
    assert found == ["gemm", "shift", "xla"]
    assert words(rule) == "gemm where height <= 14, else shift where channels <= 64, else xla"


@pytest.mark.parametrize("bits", [128, 256, 512, 1024])
def test_every_processor_has_a_table(bits):
    rules = built_in(bits)
    assert rules in [built_in(width) for width in BUILT_IN]
    for shape in (conv(56, 64, 3), conv(56, 96, 7, 96, groups=96)):
        assert set(rules.choose(shape)) <= set(LOWERINGS)


@pytest.mark.parametrize("bits", BUILT_IN)
def test_large_dense_convolutions_are_what_was_measured_to_be_quick(bits):
    rules = built_in(bits)
    for height, channels in ((224, 64), (112, 128), (56, 256), (28, 512)):  # VGG-16's
        tiled = ("winograd", "winograd", "winograd")
        of_many_rows = ("winograd", "xla", "winograd") if bits == 256 else ("xla", "xla", "winograd")
        assert rules.choose(conv(height, channels, 3, channels)) == (of_many_rows if height == 224 else tiled)
        assert rules.choose(conv(height, channels, 5, channels)).weight_gradient == "gemm"


def test_narrowing_convolutions_gather_their_outputs_where_that_was_measured_to_be_quick():
    rules = built_in(256)
    for height in (56, 28):  # DenseNet-121's
        assert rules.choose(conv(height, 128, 3, 32)) == ("gemm", "winograd", "gemm")
    assert rules.choose(conv(32, 48, 3, 12)) == ("gemm", "gemm", "gemm")  # DenseNet's for CIFAR
    assert rules.choose(conv(28, 128, 5, 32)).input_gradient == "xla"
    assert rules.choose(conv(7, 512, 3, 512)) == ("gemm", "gemm", "gemm")  # ResNet-50's, of few images
    assert rules.choose(conv(32, 16, 3, 16)) == ("xla", "xla", "gemm")  # ResNet-20's for CIFAR


def test_image_channels_and_small_maps_go_as_was_measured_to_be_quick():
    rules = built_in(256)
    of_images = {
        (28, 1, 5, 1): ("direct", "toeplitz", "toeplitz"),  # LeNet's
        (32, 3, 3, 1): ("direct", "gemm", "direct"),  # ResNet-20's for CIFAR
        (224, 3, 7, 2): ("xla", "gemm", "direct"),  # ResNet-50's
        (224, 3, 11, 4): ("winograd", "xla", "winograd"),  # AlexNet's
        (224, 3, 4, 4): ("direct", "gemm", "gemm"),  # ConvNeXt's
    }
    for (height, channels, kernel, stride), lowerings in of_images.items():
        assert rules.choose(conv(height, channels, kernel, strides=stride)) == lowerings
    for height, batch, lowering in ((8, 16, "gemm"), (17, 1, "gemm"), (17, 16, "xla")):  # Inception v3's
        images = conv(height, 192, 5, 192).images
        shape = ConvShape((batch, *images[1:]), (1, 7, 192, 192), padding=((0, 0), (3, 3)))
        assert rules.choose(shape).forward == lowering
        assert rules.choose(shape).input_gradient == "gemm"


def test_depthwise_kernels_of_49_taps_go_by_rows_where_there_are_many_channels():
    rules = built_in(256)
    assert rules.choose(conv(56, 96, 7, 96, groups=96)) == ("shift", "shift", "rows")  # ConvNeXt-T's
    assert rules.choose(conv(28, 192, 7, 192, groups=192)) == ("rows", "rows", "rows")
    assert rules.choose(conv(28, 240, 5, 240, groups=240)) == ("shift", "shift", "rows")  # EfficientNet-B0's


def test_groups_of_one_small_image_are_left_to_xla_where_that_was_measured_to_be_quick():
    rules = built_in(256)
    few = conv(7, 1024, 3, 1024, groups=32)  # ResNeXt-50's
    assert rules.choose(few)[:2] == ("direct", "direct")
    assert rules.choose(dataclasses.replace(few, images=(1, *few.images[1:])))[:2] == ("xla", "gemm")
    assert rules.choose(conv(14, 512, 3, 512, groups=32))[:2] == ("direct", "direct")


def test_groups_go_by_vectors_where_these_are_as_wide_as_the_processor_has_them():
    eight, sixteen = conv(14, 208, 3, 208, groups=26), conv(14, 512, 3, 512, groups=32)
    assert built_in(256).choose(eight) == ("direct", "direct", "direct")
    assert built_in(512).choose(eight) == ("gemm", "gemm", "direct")
    assert built_in(512).choose(sixteen) == ("direct", "direct", "shift")


def test_weight_gradients_that_cudnn_has_no_algorithm_for_are_computed_by_taps():
    shape = dataclasses.replace(conv(7, 768, 7, 768, groups=768), dtype="bfloat16")  # ConvNeXt-T's last stage
    assert automatic("gpu", shape) == ("xla", "xla", "shift")
    others = [
        dataclasses.replace(shape, dtype="float32"),
        dataclasses.replace(shape, images=(2, 14, 7, 768)),
        dataclasses.replace(shape, kernel=(5, 5, 1, 768)),
        dataclasses.replace(shape, kernel=(7, 7, 768, 768), groups=1),
    ]
    assert {automatic("gpu", other) for other in others} == {automatic("tpu", shape)} == {("xla",) * 3}


@pytest.mark.parametrize(
    ("bits", "of_groups"),
    [
        (256, [("direct", "direct", "direct")] * 2),
        (512, [("dense", "shift", "direct"), ("gemm", "shift", "direct")]),
    ],
)
def test_loops_over_images_are_for_one_device(bits, of_groups, monkeypatch):
    shapes = [
        conv(56, 96, 7, 96, groups=96),
        conv(56, 128, 3, 128, groups=32),
        conv(28, 96, 3, 96, 2, 96),
        conv(56, 256, 3, 256, 2, 32),
    ]
    with following(built_in(bits)):
        monkeypatch.setattr("jax.device_count", lambda: 1)
        alone = [automatic("cpu", shape) for shape in shapes]
        monkeypatch.setattr("jax.device_count", lambda: 8)
        together = [automatic("cpu", shape) for shape in shapes]
    assert {each.weight_gradient for each in alone[::2]} == {"rows"}
    assert alone[1::2] == together[1::2] == of_groups  # the loops of direct are not over images
    assert together[::2] == [("shift", "shift", "shift")] * 2
    assert not any("rows" in each for each in together)


def test_the_rules_of_earlier_folders_never_change():
    kinds = earlier().to_json()
    assert kinds.pop("dense 3x3") == kinds["dense"]  # of which it was one
    assert kinds.pop("few channels in blocks") == kinds["few channels"]  # likewise
    table = json.dumps(kinds, sort_keys=True)
    assert (
        hashlib.sha256(table.encode()).hexdigest() == "897fcdc03e2a519495afb1e14b3ed3542a88746c6321df696b56eb2957a5cf65"
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda rules: [],
        lambda rules: {**rules, "other": {}},
        lambda rules: {kind: rules[kind] for kind in KINDS[1:]},
        lambda rules: {**rules, "dense": {"forward": "xla"}},
        lambda rules: {**rules, "dense": "xla"},
        lambda rules: {**rules, "dense": dict.fromkeys(DIRECTIONS, "magic")},
        lambda rules: {**rules, "dense": {key: ["height", 14.5, "xla", "gemm"] for key in DIRECTIONS}},
        lambda rules: {**rules, "dense": {key: ["colour", 14, "xla", "gemm"] for key in DIRECTIONS}},
        lambda rules: {**rules, "dense": {key: ["height", 14, "xla"] for key in DIRECTIONS}},
    ],
)
def test_other_tables_are_refused(change):
    whole = {"about": {}, "rules": change(built_in(512).to_json())}
    with pytest.raises(ValueError, match=r"it is no table|it has rules for|is neither a lowering"):
        read_rules(json.dumps(whole))


OTHER = Rules(tuple(Trees("shift", "shift", "shift") for _ in KINDS))


def test_rules_are_followed_inside_and_by_the_cpu_alone():
    shape, before = conv(56, 64, 1), followed()
    assert automatic("cpu", shape) == ("gemm",) * 3
    with following(OTHER):
        assert automatic("cpu", shape) == ("shift",) * 3
        with following(before):
            assert automatic("cpu", shape) == ("gemm",) * 3
        assert followed() == OTHER
        assert automatic("gpu", shape) == automatic("tpu", shape) == ("xla",) * 3
    assert followed() == before == built_in(this_processor().vector_bits)


def test_what_the_machine_was_tuned_to_is_followed(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXCNN_CACHE", str(tmp_path))
    file = tuned_file()
    assert file.is_relative_to(tmp_path)
    file.parent.mkdir()
    file.write_text(rules_text({"lowerings": list(LOWERINGS)}, OTHER))
    assert followed() == OTHER


def test_without_a_home_folder_the_rules_of_the_package_hold(monkeypatch):
    monkeypatch.setenv("JAXCNN_CACHE", "~nobody-of-this-name/cache")
    assert followed() == built_in(this_processor().vector_bits)


@pytest.mark.parametrize("text", ["", "{}", '{"about": {}, "rules": {}}', rules_text({"lowerings": ["xla"]}, OTHER)])
def test_a_file_that_cannot_be_followed_is_named_and_the_rules_of_the_package_hold(text, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("JAXCNN_CACHE", str(tmp_path))
    tuned_file().parent.mkdir()
    tuned_file().write_text(text)
    with caplog.at_level(logging.WARNING, "jaxcnn"):
        assert followed() == built_in(this_processor().vector_bits)
        assert followed() == built_in(this_processor().vector_bits)
    (record,) = caplog.records
    assert str(tuned_file()) in record.getMessage()
    assert record.getMessage().endswith("run `jaxcnn tune` again")
