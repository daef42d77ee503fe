import importlib.util
from pathlib import Path
from types import SimpleNamespace

import jax
import pytest

from jaxcnn.cli.main import main
from jaxcnn.devices import autotuning
from jaxcnn.devices.autotuning import description_of, learning, learnt, open_choices
from jaxcnn.devices.machines import machine
from jaxcnn.devices.topologies import over_topology
from jaxcnn.errors import UserError

GPU = 'gpu_device_info {\n  core_count: 132\n}\nplatform_name: "CUDA"\ndevice_description_str: "NVIDIA H200"\n'


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "gpu.txt").write_text(GPU)
    (tmp_path / "choices.txt").write_text("version: 3\n")
    return tmp_path


@pytest.fixture
def a_gpu(monkeypatch):
    monkeypatch.setattr(autotuning.jax, "devices", lambda: [SimpleNamespace(platform="gpu")])


def test_the_description_is_that_of_the_gpu_itself(folder):
    assert description_of(folder, machine("h200")) == GPU
    assert learnt(folder) == {"xla_gpu_load_autotune_results_from": str(folder / "choices.txt")}
    assert learnt(None) == {}


def test_the_folder_of_another_gpu_is_refused(folder):
    with pytest.raises(UserError, match=r"was written on NVIDIA H200, which is not NVIDIA H100 SXM5 80GB: name the"):
        over_topology("h100:8", folder)
    (folder / "gpu.txt").write_text("")
    with pytest.raises(UserError, match="was written on an unknown GPU, which is not"):
        over_topology("h200:8", folder)


@pytest.mark.parametrize("missing", ["gpu.txt", "choices.txt"])
def test_a_folder_without_choices_is_refused(folder, missing):
    (folder / missing).unlink()
    with pytest.raises(UserError, match=rf"does not hold what XLA has found out .*{missing}.*: write it with `jaxcnn"):
        over_topology("h200:8", folder)


def test_tpus_have_nothing_to_be_tuned(folder):
    with pytest.raises(
        UserError, match=r"is of no use for Google TPU v5e chip .*, whose kernels are not timed: leave it out"
    ):
        over_topology("v5e:2x2", folder)


def test_what_is_learnt_is_kept_with_the_description(tmp_path, a_gpu):
    folder = tmp_path / "new" / "h200"
    with learning(folder) as options:
        Path(options["xla_gpu_dump_autotune_results_to"]).write_text("version: 3\n")
        dump = Path(options["xla_dump_to"])
        dump.mkdir()
        (dump / "module_0001.jit_step.gpu_target_config.pbtxt").write_text(GPU)
        assert not folder.exists()
    assert {path.name: path.read_text() for path in folder.iterdir()} == {"gpu.txt": GPU, "choices.txt": "version: 3\n"}
    with learning(None) as options:
        assert options == {}


def test_what_fails_to_compile_leaves_the_folder_as_it_was(folder, a_gpu):
    with pytest.raises(RuntimeError, match="it fails"), learning(folder):
        raise RuntimeError("it fails")
    assert (folder / "gpu.txt").read_text() == GPU


def test_a_machine_without_a_gpu_learns_nothing(tmp_path):
    with pytest.raises(UserError, match=r"there is no GPU here whose kernels can be timed for .*: give --topology too"):
        learning(tmp_path).__enter__()


def test_convolutions_without_an_algorithm_are_counted():
    line = '%c = custom-call(%a), custom_call_target="__cudnn$convForward", backend_config={{"algo_id":{}}}'
    text = "\n".join(line.format(number) for number in ('"-1"', '"18"', '"1"', '"-1"'))
    assert open_choices(SimpleNamespace(as_text=lambda: text)) == 2


@pytest.mark.slow
def test_a_step_that_a_gpu_could_not_run_is_not_written(tmp_path, capsys):
    if not importlib.util.find_spec("jax_plugins") or not importlib.util.find_spec("jax_plugins.xla_cuda13"):
        pytest.skip("needs what compiles for gpus")
    assert jax.devices()[0].platform == "cpu"
    out = tmp_path / "step.bin"
    assert main(["compile", "lenet_digits", "--topology", "h200:1", "--out", str(out)]) == 2
    said = capsys.readouterr().err
    assert "convolutions of the step have no algorithm" in said
    assert "on one NVIDIA H200 SXM 141GB" in said
    assert not out.exists()
