"""What the stream delivers and costs with some numbers of threads, on a few small files."""

import numpy as np
import pytest
from PIL import Image

from jaxcnn.benchmarks.input import Corpus, ThreadCost, time_processes, time_threads
from jaxcnn.cli.benchmark import main
from jaxcnn.cli.benchmark_parts import thread_lines
from jaxcnn.errors import UserError


@pytest.fixture
def corpus(tmp_path):
    random = np.random.default_rng(0)
    for split, label in (("train", "a"), ("train", "b"), ("val", "a"), ("val", "b")):
        folder = tmp_path / "files" / split / label
        folder.mkdir(parents=True)
        Image.fromarray(random.integers(0, 256, (24, 30, 3), np.uint8)).save(folder / "0.jpg")
    name = f"folder:{tmp_path / 'files'}"
    return Corpus(files=str(tmp_path / "files"), data_dir=str(tmp_path), jpeg=name, raw=name)


def test_each_number_of_threads_is_timed(corpus):
    one, two = time_threads(corpus, (1, 2), rounds=1, batches=1)
    assert (one.threads, two.threads) == (1, 2)
    for cost in (one, two):
        assert cost.images_per_second > 0
        assert cost.processor_seconds > 0


def test_a_number_of_processes_is_timed(corpus):
    (two,) = time_processes(corpus, (2,), rounds=1, batches=1)
    assert two.processes == 2
    assert two.images_per_second > 0
    assert two.feeding_seconds > 0
    with pytest.raises(UserError, match=r"^--processes is 0: give numbers of processes from 1 on$"):
        time_processes(corpus, (0,), rounds=1, batches=1)


def test_a_stream_needs_a_thread(corpus):
    with pytest.raises(UserError, match=r"^--threads is 0: give numbers of threads from 1 on$"):
        time_threads(corpus, (2, 0), rounds=1, batches=1)


def test_cores_follow_from_the_dearest_thread():
    lines = list(thread_lines([ThreadCost(1, 1000.0, 0.001), ThreadCost(4, 3000.0, 0.002)]))
    assert " ".join(lines[1].split()) == "4 threads 3,000 images/s 2,000 microseconds of a core for an image"
    assert "of 4 threads" in lines[2]
    # MLPerf's v2.0, by its log: 27,186.4 images a second.
    assert "   54 cores    27,186 images/s  resnet50, 8 a100, MLPerf, NVIDIA" in lines
    rates = [float(line.split()[2].replace(",", "")) for line in lines[3:]]
    assert rates == sorted(rates)


@pytest.mark.slow
def test_the_command_prints_both_tables(capsys):
    assert main(["input", "--against", "--threads", "1", "2", "--images", "8", "--rounds", "1", "--batches", "1"]) == 0
    processor, *printed = capsys.readouterr().out.splitlines()
    assert "GFLOP/s" in processor
    assert printed[0].startswith("jaxcnn ")
    assert [line.split()[0] for line in printed[1:3]] == ["1", "2"]
    assert sum(" cores  " in line for line in printed) > 3
