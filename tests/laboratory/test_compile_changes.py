"""Rows of reports, made by hand: their sums, their file, and what is said to differ between two of them."""

import dataclasses
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxcnn.errors import UserError
from jaxcnn.laboratory.compile_changes import changes, counterpart
from jaxcnn.laboratory.compile_panels import grid_panels, layer_panels
from jaxcnn.laboratory.compile_rows import WORK, KernelRow, Totals, read_rows, totals_by, write_rows
from jaxcnn.laboratory.compile_tables import change_tables, grid_table, row_tables
from tests.laboratory.hand_made import CONVOLUTION, COPY, KERNEL, POINT, row


def cells(table, column=0):
    return list(table.columns[column].cells)


kernels = st.builds(
    KernelRow,
    name=st.text(max_size=3),
    opcode=st.just("fusion"),
    kind=st.sampled_from(
        ["convolution", "product", "reduction", "elementwise", "copy", "collective", "random", "other"]
    ),
    layer=st.sampled_from(["", "conv1", "stage1/norm1", "bn"]),
    phase=st.sampled_from(["augmentation", "forward", "backward", "optimizer", "statistics", "loss", "other"]),
    dtype=st.just("float32"),
    flops=st.integers(0, 100),
    multiply_adds=st.just(0),
    bytes_read=st.integers(0, 100),
    bytes_written=st.integers(0, 100),
    count=st.integers(1, 5),
    bound=st.none() | st.just(0.5),
    seconds=st.none() | st.just(0.25),
)


@settings(max_examples=12, deadline=None)
@given(st.lists(kernels, max_size=4), st.lists(kernels, max_size=4))
def test_sums_add_up_whatever_they_are_grouped_by(some, others):
    assert Totals.of(some) + Totals.of(others) == Totals.of([*some, *others])
    whole = Totals.of(some)
    for name in ("kind", "layer", "phase", "part"):
        groups = totals_by(some, lambda each, name=name: getattr(each, name))
        assert sum((each.bytes for each in groups.values()), 0) == whole.bytes
        assert sum(each.kernels for each in groups.values()) == sum(each.count for each in some)
    assert {each.part for each in some} <= set(WORK)


@pytest.mark.parametrize(
    ("kind", "phase", "layer", "part"),
    [
        ("convolution", "backward", "stage1/norm1", "convolutions and products"),
        ("product", "forward", "", "convolutions and products"),
        ("copy", "optimizer", "", "layout changes"),
        ("collective", "backward", "", "collectives"),
        ("elementwise", "optimizer", "", "optimizer"),
        ("reduction", "loss", "", "loss and counts"),
        ("elementwise", "augmentation", "", "augmentation"),
        ("reduction", "forward", "stage1_block0/norm1", "normalization"),
        ("elementwise", "backward", "stage1_block0/shortcut_norm", "normalization"),
        ("reduction", "statistics", "", "loss and counts"),
        ("elementwise", "forward", "stage1_block0", "activations and the rest"),
        ("reduction", "backward", "stage1_norm/conv1", "activations and the rest"),
    ],
)
def test_the_part_of_a_steps_work_that_a_kernel_is(kind, phase, layer, part):
    assert dataclasses.replace(KERNEL, kind=kind, phase=phase, layer=layer).part == part


def test_a_report_is_read_as_it_was_written(tmp_path):
    rows = (
        row(KERNEL, CONVOLUTION),
        dataclasses.replace(row(), program=None, error="no\nroom \ud800".encode("utf-8", "replace").decode()),
    )
    write_rows(tmp_path / "deep" / "report.json", rows)
    assert read_rows(tmp_path / "deep" / "report.json") == rows
    found = json.loads((tmp_path / "deep" / "report.json").read_text())
    assert found["rows"][0]["program"]["kernels"][1]["layer"] == "stage1/conv1"
    assert found["rows"][0]["point"]["topology"] == "h100:8"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "cannot be read: No such file"),
        ("{", "is no report of `jaxcnn compile-report --json`: "),
        ('{"rows": [{"point": 3}]}', r"is no report of .*rows.0.point"),
        ("[]", "is no report of"),
    ],
)
def test_what_is_no_report_is_refused_in_a_sentence(text, sentence, tmp_path):
    path = tmp_path / "report.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=sentence):
        read_rows(path)


def test_changes_are_said_by_layer_the_greatest_first():
    before, after = (
        row(KERNEL, CONVOLUTION, COPY),
        row(dataclasses.replace(KERNEL, bytes_read=10), CONVOLUTION, dataclasses.replace(COPY, layer="stage2/conv1")),
    )
    found = changes(before, after)
    assert found.options == ()
    assert found.total.bytes == -90
    assert [(each.name, each.bytes) for each in found.layers] == [
        ("stage1/norm1", -90),
        ("stage1/conv1", -14),
        ("stage2/conv1", 14),
    ]
    assert [(each.layout_before, each.layout_after) for each in found.layers] == [(0, 0), (14, 0), (0, 14)]
    assert [each.name for each in found.kinds] == ["elementwise"]
    assert changes(before, before).layers == ()


def test_what_stayed_as_it_was_is_no_change_where_bounds_are_missing():
    unbound = [dataclasses.replace(each, bound=None) for each in (KERNEL, COPY)]
    assert changes(row(*unbound), row(*unbound)).layers == ()
    assert changes(row(*unbound), row(KERNEL, COPY)).layers == ()  # the program is the same, with another machine


def test_a_row_is_compared_with_that_of_the_same_or_of_the_nearest_options():
    other = dataclasses.replace(POINT, network="other")
    shard_map, wide = dataclasses.replace(POINT, wrapper="shard_map"), dataclasses.replace(POINT, batch_size=128)
    same, near, far = row(), row(point=shard_map), row(point=wide)
    assert counterpart(same, [near, same, far]) == same
    assert counterpart(same, [near, row(point=other)]) == near
    assert counterpart(same, [near, far]) is None  # either could be meant
    assert counterpart(same, []) is None
    assert counterpart(same, [dataclasses.replace(same, program=None, error="too large")]) is None
    assert changes(near, same).options == ("wrapper",)


def test_tables_show_figures_and_escape_names():
    strange = dataclasses.replace(KERNEL, layer="evil\nnorm1")
    found = row(strange, CONVOLUTION, COPY)
    table = grid_table([found, row(KERNEL, point=dataclasses.replace(POINT, topology=None, remat=(1, 2)))])
    assert [column.header for column in table.columns][:3] == ["network", "topology", "remat"]
    assert (cells(table, 1), cells(table, 2)) == (["h100:8", "here"], ["none", "1+2"])
    work, phases, memory, exchanged, layouts, layers = row_tables(found, most=1)
    assert cells(work) == ["convolutions and products", "normalization", "layout changes", "the whole step"]
    assert cells(work, 4) == ["0.000"] * 4
    assert cells(work, 5) == ["47.8 %", "47.8 %", "4.5 %", "100.0 %"]
    assert cells(phases) == ["forward", "the whole step"]
    assert "temporaries from forward to backward" in cells(memory)
    assert cells(exchanged) == ["all-reduce of float32"]
    assert cells(layouts) == ["stage1/conv1, forward", "the whole step"]
    assert cells(layers) == ["stage1/conv1", "(1 more)", "the whole step"]
    *_, layers = row_tables(found, most=5)
    assert "evil\\nnorm1" in cells(layers)
    assert not list(row_tables(dataclasses.replace(found, program=None, error="no"), most=5))


def test_tables_of_changes_name_the_options_that_differ():
    after = row(KERNEL, point=dataclasses.replace(POINT, wrapper="pmap"))
    figures, *others = change_tables(changes(row(KERNEL, COPY), after), most=1)
    assert figures.title.endswith("against wrapper jit to pmap: in all")
    assert dict(zip(cells(figures), cells(figures, 3), strict=True))["kernels"] == "-50.0 %"
    assert [cells(table)[0] for table in others] == ["copy", "forward", "stage1/conv1"]


def test_panels_have_a_length_for_each_bar_and_lose_nothing():
    rows = [row(KERNEL, CONVOLUTION), dataclasses.replace(row(), program=None), row(KERNEL, COPY, CONVOLUTION)]
    for panel in [*grid_panels(rows), *layer_panels(rows)]:
        assert all(len(lengths) == len(panel.labels) for lengths in panel.parts.values())
    made, memory, moved, *_ = grid_panels(rows)
    assert [sum(lengths) for lengths in zip(*made.parts.values(), strict=True)] == [6, 6]
    assert sum(lengths[0] for lengths in memory.parts.values()) == pytest.approx(1505 / 1e6)
    assert sum(lengths[1] for lengths in moved.parts.values()) == pytest.approx(314 / 1e9)
    first, second = layer_panels(rows)
    assert first.labels == second.labels == ("stage1",)
    assert second.parts["forward"] == pytest.approx([314 / 1e9])
