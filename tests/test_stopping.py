"""SIGTERM, whatever a run is doing: a whole checkpoint, and exit code 75. `test_runs` goes on from such."""

import os
import signal
from pathlib import Path

import pytest

from jaxcnn import loading
from jaxcnn.cli import train
from jaxcnn.devices.parallel import DataParallel
from tests.training import hooked_train

TINY = Path(__file__).parent / "recipes" / "tiny.py"


@pytest.fixture(autouse=True)
def _few_devices(monkeypatch, one_device):
    monkeypatch.setattr(DataParallel, "over_all_devices", lambda: one_device)


def train_here(workdir):
    return train.main([str(TINY), "--workdir", str(workdir), "--epochs", "0.6"])


# In saving, the signal comes while step 4 is written, and some more steps are made meanwhile.
@pytest.mark.parametrize(
    ("moment", "steps"),
    [
        pytest.param("training", {10}, marks=pytest.mark.slow),
        pytest.param("evaluation", {14}, marks=pytest.mark.slow),
        ("compilation", {1}),
        ("saving", range(4, 14)),
    ],
)
def test_sigterm(tmp_path, monkeypatch, capsys, moment, steps):
    sent = []

    def send():
        if not sent:
            sent.append(moment)
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        hooked_train.install(moment, send, patch.setattr)
        assert train_here(tmp_path / "run") == 75
    assert sent
    assert capsys.readouterr().out.splitlines()[-1].startswith("stopped as asked, everything is saved; go on with: ")
    folders = {path.name for path in (tmp_path / "run" / "checkpoints").iterdir()}
    saved = loading.restore_state(tmp_path / "run")  # would warn of damage, and that would fail the test
    assert saved.step in steps
    assert saved.metrics == {}
    assert all(name.isdigit() for name in folders)
    assert saved.step == max(map(int, folders))
