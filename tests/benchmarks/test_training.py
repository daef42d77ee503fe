"""What `jaxcnn benchmark train` times."""

import pytest

from jaxcnn.benchmarks.rounds import Rounds
from jaxcnn.cli.benchmark import train
from jaxcnn.contenders import Memory


@pytest.mark.parametrize(("size", "sizes"), [(None, [299, 224]), (128, [128, 128])])
def test_each_network_is_timed_at_its_own_size_unless_one_is_given(size, sizes, monkeypatch):
    jobs = []

    def pretend(job, contenders, *, rounds, steps):
        jobs.append(job)
        return Rounds({name: [1.0] for name in contenders}), dict.fromkeys(contenders, Memory(None, None))

    monkeypatch.setattr("jaxcnn.cli.benchmark.compare_with_memory", pretend)
    train(("inception_v3", "resnet50"), against=("pytorch",), size=size)
    assert [job.size for job in jobs] == sizes
