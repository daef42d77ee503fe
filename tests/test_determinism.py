"""What a step sees is a function of (config, seed, step): not of the process, the threads, the devices or the start."""

import re
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from jaxcnn.devices.parallel import DataParallel
from tests.data import batch_digests
from tests.data.batch_digests import BATCH, IMAGES, assembly_of, digests, write_photographs
from tests.devices.two_processes import start_two

STEPS = 2 * IMAGES // BATCH  # two epochs, one step across their border


EIGHT = DataParallel.over_all_devices()


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """The folder, the jitted preparation, and the digests without threads, over eight devices."""
    folder = tmp_path_factory.mktemp("photographs")
    write_photographs(folder)
    assembly = assembly_of(folder, 0)
    prepare = jax.jit(assembly.prepare)
    found = list(digests(prepare, assembly.data.train, 0, STEPS, EIGHT))
    assert len({digest for pair in found for digest in pair}) == 2 * STEPS
    return folder, prepare, found


@pytest.mark.parametrize("workers", [1, 4])
def test_for_any_number_of_threads_from_any_step(expected, workers):
    folder, prepare, found = expected
    train = assembly_of(folder, workers).data.train
    for start in (0, 3):
        assert list(digests(prepare, train, start, STEPS, EIGHT)) == found[start:]


def test_on_one_device(expected, one_device):
    folder, prepare, found = expected
    assert list(digests(prepare, assembly_of(folder, 2).data.train, 0, STEPS, one_device)) == found


@pytest.mark.slow
def test_over_two_processes(expected, tmp_path):
    folder, _, found = expected
    codes, outputs = start_two([[batch_digests.__file__, folder, "2", STEPS]] * 2, tmp_path)
    assert codes == [0, 0], outputs
    for output in outputs:
        assert re.findall(r"^([0-9a-f]{64}) ([0-9a-f]{64})$", output, re.MULTILINE) == found


@pytest.mark.slow
def test_in_a_fresh_process(expected):
    folder, _, found = expected
    command = [sys.executable, batch_digests.__file__, str(folder), "4", str(STEPS)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parent.parent)
    assert [tuple(line.split()) for line in done.stdout.splitlines()] == found
