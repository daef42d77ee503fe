import signal
from pathlib import Path

import pytest

from jaxcnn.errors import UserError
from jaxcnn.trials.interruption import interrupt_repeatedly

TINY = str(Path(__file__).parents[1] / "recipes" / "tiny.py")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_interrupted_between_two_lines_of_its_log_a_run_ends_in_the_same_bits_and_lines(tmp_path, number):
    outcome = interrupt_repeatedly([TINY], tmp_path / "runs", kills=2, number=number, seed=3, between_lines=True)
    assert outcome.kills == 2
    if number == signal.SIGKILL:  # after SIGTERM a run goes on from where it stopped
        assert outcome.between_lines == 2
    assert len(outcome.resumed_after) == 2
    assert outcome.finished_runs >= 1
    assert not outcome.differing


def test_a_run_that_fails_is_no_outcome(tmp_path):
    with pytest.raises(RuntimeError, match=r"(?s)jaxcnn train .* ended with 2:.*--seeed"):
        interrupt_repeatedly([TINY, "--seeed", "1"], tmp_path / "runs", kills=1, number=signal.SIGKILL)
    with pytest.raises(UserError, match="there is no recipe or run folder nope"):
        interrupt_repeatedly(["nope"], tmp_path / "others", kills=1, number=signal.SIGKILL)
    assert not (tmp_path / "others").exists()
