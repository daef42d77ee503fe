"""Programs of StableHLO: alike to their network, of any size, for several platforms, and without this package."""

import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest

import jaxcnn
from jaxcnn.errors import UserError
from jaxcnn.export import compared
from jaxcnn.export.stablehlo import export_stablehlo
from jaxcnn.loading import load
from tests.export.tiny import Tiny, trained

pytest.importorskip("flatbuffers", reason="jaxcnn[export] is not installed")

EVERYWHERE = ("cpu", "cuda", "tpu")
ALONE = """
import importlib.abc, sys

class Without(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] == "jaxcnn":
            raise ImportError(name)

sys.meta_path.insert(0, Without())
import json, zipfile
import numpy as np
from jax import export

program = export.deserialize(bytearray(open(sys.argv[1], "rb").read()))
about = json.loads(zipfile.ZipFile(sys.argv[1]).read("about.json"))
size = about["expects"]["crop"]["size"]
for batch in (1, 7):
    for more in (0, 32):
        images = np.full((batch, size, size + more, 3), 100, np.uint8)
        print(batch, more, np.asarray(program.call(images)).sum(1).round(5).tolist())
assert "jaxcnn" not in sys.modules
"""


@pytest.fixture(scope="module")
def small():
    return trained(Tiny(3), 9, 3)


@pytest.mark.parametrize("pixels", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_program_predicts_as_its_network(small, tmp_path, pixels):
    path, photo = tmp_path / "small.stablehlo", np.random.default_rng(1).integers(0, 256, (20, 30, 3), np.uint8)
    said = export_stablehlo(small, path, pixels=pixels, platforms=EVERYWHERE)
    assert said.startswith("a program for cpu, cuda, tpu and images of any size, which differs from the network by ")
    program = load(path)
    (found,), (expected,) = program.predict([photo], top_k=3), small.predict([photo], top_k=3)
    assert [name for name, _ in found] == [name for name, _ in expected]
    np.testing.assert_allclose([p for _, p in found], [p for _, p in expected], atol=1e-5)
    with zipfile.ZipFile(path) as archive:
        facts = json.loads(archive.read("about.json"))
    assert (facts["takes"].split()[0], facts["gives"]) == (
        ("uint8", "probabilities") if pixels else ("float32", "logits")
    )


def test_a_program_that_differs_is_refused(small, tmp_path, monkeypatch):
    monkeypatch.setattr(compared, "CLOSE", -1.0)
    with pytest.raises(UserError, match=r"differs from the network by .*: use its weights alone, with --format"):
        export_stablehlo(small, tmp_path / "small.stablehlo", pixels=True, platforms=("cpu",))


@pytest.mark.slow
def test_a_network_of_one_size_has_a_symbol_for_the_batch_alone(tmp_path):
    lenet = trained(jaxcnn.create_model("lenet5"), 32, 1)
    said = export_stablehlo(lenet, tmp_path / "lenet.stablehlo", pixels=True, platforms=EVERYWHERE)
    assert "images of 32x32 pixels" in said


@pytest.mark.slow
def test_resnet50_runs_where_this_package_cannot_be_imported(tmp_path):
    path = tmp_path / "resnet50.stablehlo"
    export_stablehlo(trained(jaxcnn.create_model("resnet50"), 64, 3), path, pixels=True, platforms=EVERYWHERE)
    ran = subprocess.run([sys.executable, "-c", ALONE, str(path)], capture_output=True, text=True, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    rows = [line.split(maxsplit=2) for line in ran.stdout.splitlines()]
    assert [(batch, more) for batch, more, _ in rows] == [("1", "0"), ("1", "32"), ("7", "0"), ("7", "32")]
    assert all(json.loads(sums) == [1.0] * int(batch) for batch, _, sums in rows)


@pytest.mark.parametrize("content", [b"", b"PK\x05\x06" + bytes(18), b"module {}"], ids=["empty", "a zip", "text"])
def test_what_is_no_program_is_refused(tmp_path, content):
    (tmp_path / "x.stablehlo").write_bytes(content)
    with pytest.raises(UserError, match=r"is not a program that `jaxcnn export` wrote .*: export it anew"):
        load(tmp_path / "x.stablehlo")


def test_a_file_that_is_not_there_is_said_to_be_missing(tmp_path):
    with pytest.raises(UserError, match=r"there is no file .*none.stablehlo: write it with `jaxcnn export`"):
        load(tmp_path / "none.stablehlo")
