import importlib.util
import math
import re
from types import SimpleNamespace

import pytest

from jaxcnn.devices import topologies
from jaxcnn.devices.machines import machine, machine_of, machines
from jaxcnn.devices.topologies import gpu_target, over_topology, topology_lines, usable_memory
from jaxcnn.errors import UserError

INSTALLED = {kind: importlib.util.find_spec(name) for kind, name in (("tpu", "libtpu"), ("gpu", "jax_plugins"))}


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("h10:8", r"there is no machine 'h10' to compile for in --topology h10:8: did you mean 'h100'\? \(list shows"),
        ("l4:1", r"there is no machine 'l4' to compile for in --topology l4:1: "),  # XLA has no description of it
        ("h100", r"--topology h100 does not say how many chips: write them as in h100:8"),
        ("v5e:", r"--topology v5e: does not say how many chips: write them as in v5e:2x2"),
        ("v4:2x0x1", r"--topology v4:2x0x1 does not say how many chips: write them as in v4:2x2x1"),
        ("h100:4x2x8", r"--topology h100:4x2x8 has too many numbers for GPUs: .* as in h100:4x8"),
        ("h100:9", r"--topology h100:9 has 9 GPUs in a host, which holds 8: give hosts too, as in h100:2x8"),
        ("gb200:2x8", r"has 8 GPUs in a host, which holds 4: give hosts too, as in gb200:4x4"),
        ("h100:8\n", r"--topology h100:8\\n does not say how many"),
    ],
)
def test_a_wrong_name_is_refused_in_a_sentence(name, sentence):
    with pytest.raises(UserError, match=sentence):
        over_topology(name)


@pytest.mark.parametrize(("name", "extra"), [("h100:8", "cuda"), ("v5e:2x2", "tpu")])
def test_the_extra_that_is_missing_is_named(name, extra, monkeypatch):
    monkeypatch.setattr(topologies.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=rf"{name} needs the compiler for .* pip install 'jaxcnn\[{extra}\]'"):
        over_topology(name)


def test_the_list_names_what_can_be_compiled_for():
    lines = list(topology_lines())
    names = [line.partition(":")[0] for line in lines]
    assert names == [each.name for each in machines().values() if each.kind == "tpu" or each.target]
    assert "h100:8       NVIDIA H100 SXM5 80GB, 80 GB; up to 8 to a host, more hosts as in h100:4x8" in lines


def test_descriptions_of_gpus_have_the_same_fields():
    """XLA does not say that it misses one."""
    described = [gpu_target(each) for each in machines().values() if each.target]
    assert len(described) == 7
    fields = {tuple(re.findall(r"(\w+) ?[:{]", text)) for text in described}
    assert len(fields) == 1
    assert {"core_count", "l2_cache_size", "memory_bandwidth", "shared_memory_per_block_optin"} < set(*fields)
    assert "cuda_compute_capability { major: 9 minor: 0 }" in gpu_target(machine("h100"))


def test_what_jax_takes_of_a_gpu(monkeypatch):
    monkeypatch.delenv("XLA_CLIENT_MEM_FRACTION", raising=False)
    h100, cpu = (SimpleNamespace(device_kind=kind) for kind in ("NVIDIA H100 80GB HBM3", "cpu"))
    assert 63e9 < usable_memory(h100) < 64e9
    assert usable_memory(cpu) == math.inf
    monkeypatch.setenv("XLA_CLIENT_MEM_FRACTION", "0.9")
    assert 76e9 < usable_memory(h100) < 77e9
    monkeypatch.setenv("XLA_CLIENT_MEM_FRACTION", "much")
    with pytest.raises(UserError, match="XLA_CLIENT_MEM_FRACTION is 'much', which is no number"):
        usable_memory(h100)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "devices", "processes"),
    [("h100:8", 8, 1), ("b200:4x8", 32, 4), ("v5e:4x4", 16, 4), ("v5p:2x2x2", 8, 2)],
)
def test_devices_that_are_not_there(name, devices, processes):
    known = machine(name.partition(":")[0])
    if not INSTALLED[known.kind]:
        pytest.skip(f"needs what compiles for {known.kind}s")
    found = list(over_topology(name).mesh.devices.flat)
    assert len(found) == devices
    assert len({each.process_index for each in found}) == processes
    assert {each.platform for each in found} == {known.kind}
    assert machine_of(found[0]) is known


@pytest.mark.slow
@pytest.mark.skipif(not INSTALLED["tpu"], reason="needs libtpu")
def test_a_slice_that_there_is_not_is_refused():
    with pytest.raises(UserError, match=r"libtpu knows no slice v5e:3x3 to compile for: name one as in v5e:2x2 \("):
        over_topology("v5e:3x3")
