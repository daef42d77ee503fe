from types import SimpleNamespace

import pytest

from jaxcnn.devices.machines import machine, machine_of, machines
from jaxcnn.errors import UserError


@pytest.mark.parametrize("name", machines())
def test_figures_are_ceilings_with_sources(name):
    found = machine(name)
    assert found.name == name
    assert found.sources
    assert all(text for texts in found.sources.values() for text in texts)
    assert found.flops
    assert all(1e12 < flops < 1e16 for flops in found.flops.values())
    assert 1e10 < found.memory_bytes < 1e12
    assert 1e11 < found.memory_bytes_per_s < 1e13
    assert (found.link_bytes_per_s is None) == (found.links == 0)
    if found.link_bytes_per_s:
        # Links are slower than the memory, and faster than the network.
        assert (found.host_bytes_per_s or 0) < found.link_bytes_per_s * found.chips_per_host
        assert found.link_bytes_per_s < found.memory_bytes_per_s
    if found.kind == "gpu" and found.target:
        # XLA's own figures, which come from the devices, are near those that are published.
        assert found.target["memory_bandwidth"] == pytest.approx(found.memory_bytes_per_s, rel=0.05)
        assert found.target["device_memory_size"] == pytest.approx(found.memory_bytes, rel=0.1)


def test_kinds_of_devices_are_told_apart():
    kinds = [kind for each in machines().values() for kind in each.device_kinds]
    assert len(kinds) == len(set(kinds))
    assert machine_of(SimpleNamespace(device_kind="NVIDIA H100 80GB HBM3")) is machine("h100")
    assert machine_of(SimpleNamespace(device_kind="TPU v5 lite")) is machine("v5e")
    assert machine_of(SimpleNamespace(device_kind="cpu")) is None


def test_a_wrong_name_is_answered_by_the_nearest():
    with pytest.raises(UserError, match=r"there is no machine 'h10': did you mean 'h100'"):
        machine("h10")


def test_what_a_type_is_multiplied_as():
    h100, v100, v5e = machine("h100"), machine("v100"), machine("v5e")
    assert h100.flops_of("tensorfloat32") == h100.flops["tensorfloat32"] == h100.flops_of("bfloat16") / 2
    assert v100.flops_of("tensorfloat32") == v100.flops["float32"]
    assert v5e.flops_of("float32") == v5e.flops_of("bfloat16") / 6
    assert v5e.flops_of("float16") == v5e.flops["bfloat16"]
