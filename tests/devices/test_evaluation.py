"""Two processes measure together exactly what one does."""

import jax
import numpy as np
import pytest

from jaxcnn.cli.main import main
from jaxcnn.devices.parallel import DataParallel
from tests.devices import evaluation_job
from tests.devices.two_processes import ROOT, start_two

TINY = ROOT / "tests" / "recipes" / "tiny.py"


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """The folders of what one process with four devices found, and two with two each."""
    folder = tmp_path_factory.mktemp("evaluation")
    four = DataParallel.over(jax.devices()[:4])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DataParallel, "over_all_devices", lambda: four)
        evaluation_job.main(folder / "one")
    codes, outputs = start_two([[evaluation_job.__file__, folder / "two"]] * 2, folder)
    assert codes == [0, 0], outputs
    return folder / "one", folder / "two"


@pytest.mark.slow
@pytest.mark.parametrize("job", [name for name, _, _ in evaluation_job.jobs()])
def test_counts_and_errors_are_equal_and_predictions_agree(measured, job):
    one, two = (np.load(folder / f"{job}.npz") for folder in measured)
    unreadable = len(evaluation_job.UNREADABLE) if job.startswith("damaged") else 0
    assert one["n"][0] == evaluation_job.IMAGES - unreadable
    for name in ("n", "known", "labels"):
        np.testing.assert_array_equal(two[name], one[name])
    for name in ("one", "both"):
        np.testing.assert_allclose(two[name], one[name], rtol=1e-6, atol=1e-6)
    assert np.ptp(one["both"][one["known"]], axis=0).min() > 0


@pytest.mark.slow
def test_the_command_prints_once_what_one_process_prints(tmp_path, monkeypatch, capsys):
    run = tmp_path / "run"
    monkeypatch.chdir(tmp_path)
    assert main(["train", str(TINY), "--epochs", "0.6", "--workdir", str(run)]) == 0
    capsys.readouterr()
    assert main(["evaluate", str(run)]) == 0
    expected = capsys.readouterr().out
    command = ["-m", "jaxcnn", "evaluate", run, "--details", tmp_path / "details"]
    codes, (first, second) = start_two([command] * 2, tmp_path)
    assert codes == [0, 0], first + second
    assert first.endswith(expected)
    assert "error" not in second
    assert (tmp_path / "details" / "result.json").is_file()
