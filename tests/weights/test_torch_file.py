"""PyTorch's files: the good ones read as PyTorch reads them, the bad ones refused in a sentence and not obeyed."""

import contextlib
import io
import pickle
import sys
import tracemalloc
import types
from pathlib import Path

import numpy as np
import pytest

from jaxcnn.weights.errors import WeightsError
from jaxcnn.weights.files import read_file
from tests.weights import bad_files

GOLDEN = Path(__file__).parent.parent / "golden"
NAMES = sorted(bad_files.corpus("x"))


@pytest.mark.parametrize(
    ("file", "prefix"),
    [("torch_zip", ""), ("torch_legacy", ""), ("torch_checkpoint", "checkpoint/"), ("torch_python2", "python2/")],
)
def test_what_torch_wrote_is_read_as_torch_reads_it(file, prefix):
    with np.load(GOLDEN / "torch_files.npz") as stored:
        expected = {
            name.removeprefix(prefix): array
            for name, array in stored.items()
            if name.rpartition("/")[0] == prefix.removesuffix("/")
        }
    found = read_file(GOLDEN / f"{file}.pth")
    assert found.keys() == expected.keys()
    for name, array in found.items():
        assert array.dtype.name == ("bfloat16" if name == "bfloat16" else expected[name].dtype.name)
        np.testing.assert_array_equal(array.astype(expected[name].dtype), expected[name], err_msg=name)


def test_the_name_of_a_file_does_not_matter(tmp_path):
    (tmp_path / "weights.safetensors").write_bytes((GOLDEN / "torch_zip.pth").read_bytes())
    assert "float32" in read_file(tmp_path / "weights.safetensors")


def test_a_compressed_file_is_read(tmp_path):
    content = bad_files.zipped(bad_files.state(weight=bad_files.tensor()), method=bad_files.zipfile.ZIP_DEFLATED)
    (tmp_path / "w.pth").write_bytes(content)
    np.testing.assert_array_equal(read_file(tmp_path / "w.pth")["weight"], np.arange(6.0).reshape(2, 3))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("module.a", "module.b"), {"a", "b"}),
        (("module.a", "n_averaged"), {"a"}),
        (("module.a", "b"), {"a", "b"}),
        (("module.a", "a"), {"module.a", "a"}),
        (("module._orig_mod.a", "b.module.0.model.c"), {"a", "b.0.c"}),
    ],
)
def test_the_prefix_of_several_gpus_is_taken_off(names, expected, tmp_path):
    state = bad_files.state(**{name: bad_files.tensor() for name in names})
    (tmp_path / "w.pth").write_bytes(bad_files.zipped(state))
    assert read_file(tmp_path / "w.pth").keys() == expected


@pytest.mark.parametrize(
    ("held", "taken"),
    [
        (("state_dict",), "state_dict"),
        (("model", "state_dict"), "state_dict"),
        (("model", "model_ema"), "model_ema"),
        (("state_dict", "state_dict_ema"), "state_dict_ema"),
    ],
)
def test_the_averaged_weights_of_a_checkpoint_come_first(held, taken, tmp_path):
    text, entries = bad_files.text, []
    for name in held:
        entries.append(text(name) + b"}" + text(f"in_{name}") + bad_files.tensor() + b"s")
    (tmp_path / "w.pth").write_bytes(bad_files.zipped(b"\x80\x02}(" + b"".join(entries) + b"u."))
    assert read_file(tmp_path / "w.pth").keys() == {f"in_{taken}"}


def test_what_is_harmless_is_passed_over_and_not_made(tmp_path):
    """Python itself would take a terabyte for these, read a file, and know no such class."""
    name, number, text = bad_files.name, bad_files.number, bad_files.text
    values = {
        "bytes": name("__builtin__", "bytearray") + b"(" + number(1 << 40) + b"tR",
        "range": name("__builtin__", "xrange") + b"(" + number(1 << 40) + b"tR",
        "path": name("pathlib", "PosixPath") + b"(" + text("/dev/zero") + b"tR",
        "number": name("numpy.core.multiarray", "scalar")
        + b"("
        + name("numpy", "dtype")
        + b"("
        + text("no")
        + b"tRNtR",
        "options": name("omegaconf.dictconfig", "DictConfig") + b")\x81}" + text("x") + b"Nsb",
        "items": name("easydict", "EasyDict") + b")\x81}" + text("x") + b"Nsb" + text("y") + b"Ns",
        "queue": name("collections", "deque") + b"]\x85RNa(NNe",
        "default": name("collections", "defaultdict") + name("__builtin__", "list") + b"\x85R" + text("y") + b"Ns",
    }
    entries = b"".join(text(key) + value for key, value in values.items())
    program = b"\x80\x02}(" + text("model") + b"}" + text("a") + bad_files.tensor() + b"s" + entries + b"u."
    (tmp_path / "w.pth").write_bytes(bad_files.zipped(program))
    tracemalloc.start()
    try:
        found = read_file(tmp_path / "w.pth")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert found.keys() == {"a"}


@pytest.mark.parametrize("case", NAMES)
def test_a_bad_file_is_refused_in_a_sentence_and_not_obeyed(case, tmp_path):
    sentinel, path = tmp_path / "obeyed", tmp_path / "bad.pth"
    bad = bad_files.corpus(sentinel)[case]
    path.write_bytes(bad.content)
    tracemalloc.start()
    try:
        with pytest.raises(WeightsError, match=bad.sentence) as refusal:
            read_file(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    sentence = str(refusal.value)
    assert sentence.startswith(f"{path} ")
    assert sentence.isprintable()
    assert len(sentence) < 600
    assert sorted(tmp_path.iterdir()) == [path]
    # 24 MiB is what may be read of a file at once, and what a million instructions leave on the stack.
    assert peak < (24 << 20) + 8 * len(bad.content)


class _Obedient(pickle.Unpickler):
    def persistent_load(self, identity):
        return None


@pytest.mark.parametrize("case", sorted(name for name, bad in bad_files.corpus("x").items() if bad.program))
def test_python_itself_obeys_the_files_that_run_something(case, tmp_path, monkeypatch):
    utils = {"_rebuild_tensor_v2": lambda *_: None, "_rebuild_parameter": lambda *_: None}
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(FloatStorage=None))
    monkeypatch.setitem(sys.modules, "torch._utils", types.SimpleNamespace(**utils))
    program = bad_files.corpus(tmp_path / "obeyed")[case].program
    with contextlib.suppress(Exception):  # after the harm is done
        _Obedient(io.BytesIO(program)).load()
    assert (tmp_path / "obeyed").exists()


def test_folders_and_missing_files_are_refused(tmp_path):
    with pytest.raises(WeightsError, match=r"is a folder, and not an orbax checkpoint"):
        read_file(tmp_path)
    with pytest.raises(WeightsError, match=r"there is no file .*nope\.pth: give the path"):
        read_file(tmp_path / "nope.pth")
