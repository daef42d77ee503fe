"""Proposals and features of regions that are killed at random moments leave the files of those that are not."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from jaxcnn.trials.interruption import files_in
from tests.detection import regions_job

COMMAND = (sys.executable, "-m", regions_job.__name__)


def done(folder):
    """The number of proposals' files and of regions that are counted."""
    count = len(list(folder.glob("proposals/*/*/*.npy")))
    for path in folder.glob("regions/unfinished/*.json"):
        with contextlib.suppress(FileNotFoundError):  # it has just been finished
            count += json.loads(path.read_text())["images"]
    return count


def environment(devices):
    return {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_regions_that_are_killed_and_go_on_with_other_devices_leave_the_same_bytes(tmp_path, number):
    subprocess.run([*COMMAND, tmp_path / "whole"], check=True, env=environment(1))
    random, folder, kills, gone_on = np.random.default_rng(number), tmp_path / "killed", 0, set()
    while True:
        before = done(folder)
        due = before + random.integers(1, 400)
        gone_on.add(before)
        process = subprocess.Popen([*COMMAND, folder], env=environment(1 if kills % 2 else 8))
        while process.poll() is None and done(folder) < due:
            time.sleep(0.005)
        if process.poll() is None:
            process.send_signal(number)
            kills += 1
        code = process.wait()
        if code == 0:
            break
        assert code == (-signal.SIGKILL if number == signal.SIGKILL else 75)
    assert kills >= 3
    assert len(gone_on) >= 3
    whole, killed = files_in(tmp_path / "whole"), files_in(folder)
    # A file of proposals that was being written when it was killed stays, hidden; nothing reads it.
    hidden = {name for name in killed if "/." in name}
    assert number == signal.SIGKILL or not hidden
    assert {name: killed[name] for name in killed.keys() - hidden - {"regions/lock"}} == whole
