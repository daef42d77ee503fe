import json

import pytest

from jaxcnn.benchmarks.device import DeviceSizes, measure, measurements
from jaxcnn.cli.main import main
from jaxcnn.errors import UserError
from jaxcnn.tables.device import device_lines

SMALL = DeviceSizes(networks=(), exact_networks=("lenet", "no_such_network"), exact_size=32, input_images=0)


def unknown(compiled, device):
    return None


def test_a_file_is_gone_on_with_and_nothing_is_measured_twice(tmp_path):
    file, said = tmp_path / "device.json", []
    options = {"scratch": tmp_path / "scratch", "say": said.append}
    kept = measure(file, SMALL, unknown, minutes=0, **options)
    assert not kept["done"]
    assert said == [f"{file}: the 0 minutes are over, and the same command goes on with exactness lenet"]
    kept = measure(file, SMALL, unknown, minutes=10, **options)
    assert json.loads(file.read_text()) == kept
    assert list(kept["done"]) == ["exactness lenet"]
    assert kept["failed"].keys() == {"exactness no_such_network"}
    # The device is the CPU here.
    exactness = kept["done"]["exactness lenet"]
    assert exactness["highest"] == {"logits": 0, "gradients": 0}
    assert all(0 < each < 1e-5 for each in exactness["cpu"].values())
    said.clear()
    assert measure(file, SMALL, unknown, minutes=10, **options)["done"] == kept["done"]
    assert [line.partition(":")[0] for line in said] == ["exactness no_such_network"]
    lines = list(device_lines(kept))
    assert any(line.startswith("| lenet | 0.0e+00 | 0.0e+00 | 0.0e+00 | 0.0e+00 | ") for line in lines)
    assert lines[-1].startswith("exactness no_such_network was not measured: ")


def test_a_file_of_other_sizes_is_refused_and_kept(tmp_path):
    file = tmp_path / "device.json"
    none = DeviceSizes(networks=(), exact_networks=("no_such_network",), input_images=0)
    measure(file, none, unknown, minutes=10, scratch=tmp_path, say=str)
    before = file.read_text()
    with pytest.raises(
        UserError, match=r"was begun with exact_networks \[.*\], and here it is \[.*\]: name another --out"
    ):
        measure(file, SMALL, unknown, minutes=10, scratch=tmp_path)
    assert file.read_text() == before
    file.write_text("[]")
    with pytest.raises(UserError, match=r"is no file of this benchmark .*: name another --out"):
        measure(file, SMALL, unknown, minutes=10, scratch=tmp_path)


def test_what_matters_most_comes_first():
    names = [each.name for each in measurements(DeviceSizes())]
    assert names[:3] == ["exactness resnet18", "step resnet50", "step efficientnet_b0"]
    assert names[-1] == "convolutions resnet50"  # a hundred programs
    assert len(names) == len(set(names)) == 8 + 4 + 3


@pytest.mark.slow
def test_everything_is_measured_with_tiny_sizes(tmp_path, capsys):
    file = tmp_path / "device.json"
    tiny = ["--networks", "resnet20_cifar", "no_such_network", "--against", "flax", "pytorch_compiled", "--batch", "4"]
    tiny += [
        "--size",
        "32",
        "--dtype",
        "float32",
        "--exact-networks",
        "lenet",
        "--exact-size",
        "32",
        "--convolutions",
        "2",
    ]
    tiny += ["--augmentations", "normalization", "--input-images", "64", "--rounds", "1", "--steps", "1"]
    assert main(["benchmark", "device", "--out", str(file), *tiny]) == 0
    kept = json.loads(file.read_text())
    assert kept["failed"].keys() == {"step no_such_network"}
    assert kept["done"].keys() == {
        "exactness lenet",
        "step resnet20_cifar",
        "augmentation resnet20_cifar",
        "input",
        "convolutions resnet20_cifar",
    }
    step = kept["done"]["step resnet20_cifar"]
    assert step["images_per_second"].keys() == {"jaxcnn", "flax"}  # torchvision has no such network
    assert "pytorch_compiled" in step["missing"]
    assert all(rate > 0 for rate in step["images_per_second"].values())
    assert len(kept["done"]["convolutions resnet20_cifar"]["rows"]) == 6
    printed = capsys.readouterr().out
    assert "| resnet20_cifar | " in printed
    assert "not known" in printed
