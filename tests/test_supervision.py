"""A supervised command is started again when that can help, and stopped when somebody says so."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from jaxcnn.errors import UserError
from jaxcnn.supervision import Supervisor, named_workdir

SAVE = "mkdir -p checkpoints/$1 && touch checkpoints/$1/manifest.json"


@pytest.fixture
def supervised(tmp_path, monkeypatch):
    """Runs shell scripts, the first at the first start and so on, the last ever after.

    Returns the exit code, how often something was started, and what was said.
    """
    monkeypatch.chdir(tmp_path)

    def run(*scripts, say=lambda sentence: None, **options):
        started, said = tmp_path / "started", []
        cases = "".join(f"{number}) {script};;\n" for number, script in enumerate(scripts[:-1], 1))
        Path("command.sh").write_text(
            f"save() {{ {SAVE}; }}\necho >> started\ncase $(grep -c '' started) in\n{cases}*) {scripts[-1]};;\nesac\n"
        )

        def hear(sentence):
            said.append(sentence)
            say(sentence)

        options = {"max_failures": 3, "first_pause": 0.01, "longest_pause": 0.03, **options}
        code = Supervisor(["sh", "command.sh"], Path("checkpoints"), say=hear, **options).run()
        return code, len(started.read_text()), said

    return run


def test_failures_are_tried_again_after_pauses_that_double(supervised):
    code, starts, said = supervised("exit 1", "kill -9 $$", "exit 134", "exit 0", max_failures=5)
    assert (code, starts) == (0, 4)
    assert said == [
        "the command ended with exit code 1; starting it again from the start in 0.01 s",
        "the command was ended by SIGKILL; starting it again from the start in 0.02 s",
        "the command ended with exit code 134; starting it again from the start in 0.03 s",
    ]


def test_a_user_error_is_not_tried_again(supervised):
    assert supervised("exit 2") == (2, 1, [])


def test_stopped_by_the_machine_it_is_started_again(supervised):
    code, starts, said = supervised("save 8; exit 75", "exit 0")
    assert (code, starts) == (0, 2)
    assert said == ["the command ended with exit code 75; starting it again from step 8 in 0.01 s"]


@pytest.mark.parametrize(
    ("end", "code", "words"), [("exit 7", 7, "ended with exit code 7"), ("kill -9 $$", 137, "was ended by SIGKILL")]
)
def test_given_up_after_failures_at_one_step_but_not_where_it_comes_on(supervised, end, code, words):
    ended, starts, said = supervised(f"save 4; {end}", end, f"save 12; {end}", end)
    assert (ended, starts) == (code, 5)
    assert said[-1] == f"the command {words}, 3 times in a row without a newer checkpoint than step 12: giving up"


def test_a_checkpoint_that_is_not_committed_is_no_progress(supervised):
    assert supervised("mkdir -p checkpoints/$(grep -c '' started); exit 1")[1] == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(("end", "expected"), [("exit 75", 75), ("exit 0", 0), ("exit 3", 3), (None, 75)])
def test_signals_are_passed_on_and_the_end_is_waited_for(supervised, tmp_path, number, end, expected):
    handler = signal.getsignal(number)

    def send():
        while not (tmp_path / "listens").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    sender = threading.Thread(target=send)
    sender.start()
    # Without a trap the signal ends it, as it ends a training that has not begun.
    trap = f"trap 'sleep 0.1; echo > saved; {end}' {number.name.removeprefix('SIG')};" if end else ""
    code, starts, said = supervised(f"{trap} touch listens; while true; do sleep 0.01; done")
    sender.join()
    assert (code, starts, said) == (expected, 1, [])
    assert (tmp_path / "saved").exists() == bool(end)
    assert signal.getsignal(number) == handler


def test_asked_to_stop_in_a_pause_it_starts_nothing_more(supervised):
    code, starts, _ = supervised("exit 1", say=lambda _: os.kill(os.getpid(), signal.SIGTERM), first_pause=1e6)
    assert (code, starts) == (75, 1)


def test_a_program_that_is_not_there(tmp_path):
    supervisor = Supervisor(["./nope"], tmp_path, max_failures=3, first_pause=1, longest_pause=1, say=print)
    with pytest.raises(UserError, match=r"^\./nope cannot be run: No such file or directory$"):
        supervisor.run()


def test_the_run_folder_is_the_command_s():
    assert named_workdir(["train.py", "--workdir", "a/b", "--seed", "1"]) == Path("a/b")
    assert named_workdir(["train.py", "--workdir=a/b"]) == Path("a/b")
    for command in (["train.py"], ["train.py", "--workdir"], ["train.py", "--workdirs", "x"]):
        with pytest.raises(UserError, match="the command has no --workdir"):
            named_workdir(command)
