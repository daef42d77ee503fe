"""What contenders take, in seconds and in memory, and evaluation's step as one of them."""

import sys

import pytest

from jaxcnn.benchmarks.inference import compare_inference
from jaxcnn.benchmarks.training import Job
from jaxcnn.contenders import weighed
from jaxcnn.errors import UserError

CONTENDER = """
from jaxcnn.contenders import serve

first = bytearray(b"1") * (40 << 20)  # which is gone before the rounds

def run(steps):
    global first
    if first:
        first = b""
    else:
        bytearray(b"1") * (steps << 20)

serve(run)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the system does not say what is resident")
def test_the_memory_of_the_rounds_is_told_from_that_of_the_start(tmp_path, monkeypatch):
    (tmp_path / "contender.py").write_text(CONTENDER)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", ":".join(sys.path))
    taken = weighed({"a": ["contender"]}, rounds=2, steps=20, warm_up=1)
    assert len(taken.seconds["a"]) == 2
    starting, stepping = taken.memory["a"]
    assert starting is not None
    assert stepping is not None
    assert starting > stepping + (10 << 20) > 30 << 20


def test_a_contender_that_does_not_exist_is_refused_before_any_starts():
    with pytest.raises(UserError, match=r"^there is no contender 'tensorflow': choose from jaxcnn, jaxcnn_folded,"):
        compare_inference(Job("resnet20_cifar", 1, 32, "float32"), ["tensorflow"], rounds=1, steps=1)


@pytest.mark.slow
def test_evaluation_is_timed_with_and_without_its_batch_normalization():
    job = Job("resnet20_cifar", 2, 32, "float32")
    rates, memory = compare_inference(job, ["jaxcnn", "jaxcnn_folded"], rounds=3, steps=2)
    assert {len(each) for each in rates.values_of.values()} == {3}
    assert all(rate > 0 for rate in rates.values())
    assert memory.keys() == {"jaxcnn", "jaxcnn_folded"}
