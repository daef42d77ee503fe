"""Reports of steps that are compiled here, for one device, and what is kept of them."""

import dataclasses
import json
import re
import types
from pathlib import Path

import jax
import pytest

from jaxcnn.config import SGD
from jaxcnn.devices.parallel import DataParallel
from jaxcnn.errors import UserError
from jaxcnn.laboratory import compile_report as module
from jaxcnn.laboratory.compile_report import report, tasks_of
from jaxcnn.laboratory.compile_rows import Totals, read_rows
from jaxcnn.laboratory.grid import Grid
from jaxcnn.laboratory.hlo import parse
from jaxcnn.tables.networks import counted

TINY = str(Path(__file__).parents[1] / "recipes" / "tiny.py")
GRID = Grid(batch=(8,), lowering=("xla",))


@pytest.fixture
def here(monkeypatch, one_device):
    """One device, as the default of what is compiled for."""
    monkeypatch.setattr(DataParallel, "over_all_devices", lambda: one_device)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder of a report of LeNet's step, measured, with its program."""
    folder = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        one_device = DataParallel.over(jax.devices()[:1])
        patch.setattr(DataParallel, "over_all_devices", lambda: one_device)
        tasks = tasks_of(["lenet"], GRID, hlo=folder / "step.txt", machine="h100", measured=True)
        (row,) = report(tasks, folder / "report.json")
    return folder, row


def test_a_row_says_what_became_of_a_step(made):
    folder, row = made
    assert row.error is None
    program = row.program
    assert min(program.seconds.trace, program.seconds.lower, program.seconds.compile) > 0
    text = (folder / "step.txt").read_text()
    assert program.size.hlo_bytes == len(text)
    assert program.size.instructions == sum(len(each.instructions) for each in parse(text).computations.values())
    assert program.size.operations > 100
    totals = Totals.of(program.kernels)
    facts = counted()["lenet"]
    # The forward pass and both gradients, without that of the images, and with products of padding.
    products = sum(each.count * each.multiply_adds for each in program.kernels)
    assert 2 * 8 * facts.multiply_adds < products < 3.5 * 8 * facts.multiply_adds
    parameters = 4 * facts.parameters
    assert program.memory.held["parameters"] == program.memory.held["optimizer state"] - 4 == parameters
    assert program.memory.gradients == parameters
    assert program.memory.total == sum(program.memory.held.values()) + program.memory.temporaries + program.memory.code
    assert program.memory.peak == sum(holder.bytes for holder in program.memory.holders)
    # XLA puts some buffers where donated parameters have lain.
    assert 0.95 * program.memory.temporaries < program.memory.peak < program.memory.temporaries + 2 * parameters
    assert program.collectives == ()
    # The bounds of the machine, beside what was measured here.
    assert program.roofline.seconds == pytest.approx(totals.bound)
    assert {name: each.seconds for name, each in program.roofline.by_phase.items()} == pytest.approx(
        {
            phase: Totals.of(each for each in program.kernels if each.phase == phase).bound
            for phase in {each.phase for each in program.kernels}
        }
    )
    assert totals.seconds > 0
    assert program.seconds_a_step > program.roofline.seconds
    assert all(kernel.seconds > 0 for kernel in program.kernels if kernel.kind == "product")


def test_a_row_that_is_there_is_not_compiled_again(made, here, monkeypatch):
    folder, row = made
    monkeypatch.setattr(module, "assemble", pytest.fail)
    tasks = tasks_of(["lenet"], GRID, hlo=folder / "step.txt", machine="h100", measured=True)
    assert list(report(tasks, folder / "report.json")) == [row]
    # One that asks for less needs nothing more, either.
    assert list(report([tasks[0]._replace(hlo=None, measured=False)], folder / "report.json")) == [row]


@pytest.mark.parametrize("reason", ["options", "code", "machine", "program", "measured"])
def test_a_row_is_made_again_where_it_would_be_another(reason, made, here, monkeypatch, tmp_path):
    (tmp_path / "report.json").write_bytes((made[0] / "report.json").read_bytes())
    (tmp_path / "step.txt").write_bytes((made[0] / "step.txt").read_bytes())
    (task,) = tasks_of(["lenet"], GRID, hlo=tmp_path / "step.txt", machine="h100", measured=True)
    match reason:
        case "options":
            config = dataclasses.replace(task.subject.config, optimizer=SGD(nesterov=True))
            task = task._replace(subject=dataclasses.replace(task.subject, config=config))
        case "code":
            monkeypatch.setattr("jaxcnn.laboratory.compile_rows.digest_of_code", lambda parts: "another")
        case "machine":
            task = task._replace(machine=None)
        case "program":
            (tmp_path / "step.txt").unlink()
        case "measured":
            text = (tmp_path / "report.json").read_text()
            (tmp_path / "report.json").write_text(re.sub(r'"seconds_a_step": [\d.e-]+', '"seconds_a_step": null', text))

    def refuse(*_):
        raise UserError("it is made again")

    monkeypatch.setattr(module, "assemble", refuse)
    (row,) = report([task], tmp_path / "report.json")
    assert row.error == "it is made again"
    assert read_rows(tmp_path / "report.json") == (row,)


def test_what_fails_is_a_row_and_the_others_are_made(here, monkeypatch, tmp_path):
    def refuse(*_):
        raise jax.errors.JaxRuntimeError("INTERNAL: something else\nand more")

    def exhaust(_):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Ran out of memory")

    first, second = tasks_of([TINY, "lenet"], GRID)
    with monkeypatch.context() as patch:
        patch.setattr(module, "assemble", refuse)
        (internal,) = report([first], tmp_path / "report.json")
    step = types.SimpleNamespace(train_step=jax.jit(lambda: 0))  # in place of what takes seconds to trace
    monkeypatch.setattr(module, "assemble", lambda *_: step)
    monkeypatch.setattr(module, "abstract_arguments", lambda _: ())
    monkeypatch.setattr(jax.stages.Lowered, "compile", exhaust)
    rows = list(report([first, second], tmp_path / "report.json"))
    assert rows[0] == internal
    assert internal.error == "the compiler refuses it: INTERNAL: something else"
    assert rows[1].error.startswith("the training step does not fit in a device's memory at data.batch_size 8: lower")
    assert all(row.program is None for row in rows)
    assert read_rows(tmp_path / "report.json") == tuple(rows)


def test_the_layers_of_flax_hold_to_the_end_of_a_row(here, monkeypatch, tmp_path):
    measure = module.dry_run.memory_of

    def forgotten(compiled, assembly):
        jax.clear_caches()  # as JAX does itself where a large network has filled them
        return measure(compiled, assembly)

    monkeypatch.setattr(module.dry_run, "memory_of", forgotten)
    (row,) = report(tasks_of([TINY], Grid(batch=(8,), layers=("flax",))), tmp_path / "report.json")
    assert row.error is None
    assert row.program.memory.total > 0


def test_a_report_that_cannot_be_written_is_refused_at_once(here, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setattr(module, "assemble", pytest.fail)
    with pytest.raises(UserError, match=r"file/report.json cannot be written: .*: name another file with --json"):
        next(report(tasks_of(["lenet"], GRID), tmp_path / "file" / "report.json"))


def test_rows_of_others_in_the_file_stay(made, here, monkeypatch, tmp_path):
    path = tmp_path / "report.json"

    def meanwhile(*_):
        path.write_bytes((made[0] / "report.json").read_bytes())
        raise UserError("no")

    monkeypatch.setattr(module, "assemble", meanwhile)
    list(report(tasks_of([TINY], GRID), path))
    assert [row.point.title for row in read_rows(path)] == ["lenet", "tiny"]


def test_programs_of_several_points_go_to_files_of_their_own(here, tmp_path):
    tasks = tasks_of(
        ["lenet", TINY], dataclasses.replace(GRID, dtype=("float32", "bfloat16")), hlo=tmp_path / "a.b.txt"
    )
    assert [task.hlo.name for task in tasks] == [
        "a.b.lenet-here-b8-float32-xla.txt",
        "a.b.lenet-here-b8-bfloat16-xla.txt",
        "a.b.tiny-here-b8-float32-xla.txt",
        "a.b.tiny-here-b8-bfloat16-xla.txt",
    ]


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"networks": []}, "no network is named: name one that `jaxcnn models` lists"),
        ({"networks": ["resnet5"]}, "there is no model or recipe 'resnet5'"),
        ({"machine": "h10"}, "there is no machine 'h10': did you mean 'h100'"),
        ({"grid": Grid(topology=("h10:8",))}, "there is no machine 'h10' to compile for"),
        ({"grid": Grid(topology=("v5e:2x2",)), "measured": True}, "--measure times the devices of this process"),
        ({"networks": [TINY], "grid": Grid(remat=("9",))}, "--remat names stage 9"),
    ],
)
def test_what_is_impossible_is_refused_before_anything_is_compiled(asked, sentence, here):
    with pytest.raises(UserError, match=sentence):
        tasks_of(**{"networks": ["lenet"], "grid": GRID, **asked})


def test_a_batch_that_cannot_be_split_is_a_row(tmp_path):
    (row,) = report(tasks_of(["lenet"], Grid(batch=(9,))), None)
    assert row.program is None
    assert row.error == "data.batch_size 9 cannot be split over 8 devices: use 8 or 16"


@pytest.mark.slow
def test_a_program_that_cannot_be_written_does_not_lose_its_row(here, tmp_path):
    (tmp_path / "file").touch()
    tasks = tasks_of(["lenet"], GRID, hlo=tmp_path / "file" / "step.txt")
    with pytest.raises(UserError, match=r"file/step.txt cannot be written: .*: name another file with --hlo"):
        next(report(tasks, tmp_path / "report.json"))
    (row,) = read_rows(tmp_path / "report.json")
    assert row.program is not None


@pytest.mark.slow
@pytest.mark.parametrize("wrapper", ["jit", "shard_map", "pmap"])
def test_what_devices_exchange_are_the_gradients(wrapper):
    (row,) = report(tasks_of([TINY], dataclasses.replace(GRID, batch=(64,), wrapper=(wrapper,))), None)
    assert row.error is None
    exchanged = row.program.collectives
    assert {each.operation for each in exchanged} == {"all-reduce"}
    assert {(each.axes, each.groups, each.group_size) for each in exchanged} == {("data", 1, 8)}
    floats = sum(each.count * each.bytes for each in exchanged if each.dtype == "float32")
    assert floats >= row.program.memory.gradients


@pytest.mark.slow
@pytest.mark.parametrize("topology", ["v5e:2x2", "h100:2"])
def test_a_step_is_compiled_for_devices_that_are_not_there(topology, tmp_path):
    pytest.importorskip("libtpu" if topology.startswith("v5e") else "jax_plugins.xla_cuda13")
    path = tmp_path / "report.json"
    (row,) = report(tasks_of(["resnet20_cifar"], Grid(topology=(topology,), dtype=("bfloat16",))), path)
    assert row.error is None
    program = row.program
    assert json.loads(path.read_text())["rows"][0]["machine"] == topology.partition(":")[0]
    assert program.roofline.seconds > 0
    assert {"convolution", "collective"} <= {kernel.kind for kernel in program.kernels}
    assert any(kernel.layer.startswith("stage2_block1/") for kernel in program.kernels)
    # On a TPU nearly all of so small a network lies in the memory on the chip, whose buffers are not looked for.
    assert (0 if "v5e" in topology else 0.9) * program.memory.temporaries < program.memory.peak
    assert program.memory.peak < 1.1 * program.memory.temporaries
