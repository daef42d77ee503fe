"""One training at a time is in a folder, and a dead one does not count."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading

import pytest

from jaxcnn.errors import UserError
from jaxcnn.training import lock
from jaxcnn.training.lock import LOCK_FILE, FolderLock

HOLDER = """
import sys, pathlib, time
from jaxcnn.training.lock import FolderLock
FolderLock(pathlib.Path(sys.argv[1])).acquire()
print("held", flush=True)
time.sleep(600)
"""


def held(folder):
    """Whether somebody else would be refused."""
    other = FolderLock(folder)
    try:
        other.acquire()
    except UserError:
        return True
    other.release()
    return False


def test_the_second_is_told_of_the_first_and_may_when_it_is_dead(tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(UserError) as refused:
            FolderLock(tmp_path).acquire()
        process.kill()
    assert str(refused.value).startswith(
        f"{tmp_path} is in use by process {process.pid} on {socket.gethostname()}, since 20"
    )
    assert str(refused.value).endswith(": wait until it is done, end it, or choose another --workdir")
    assert (tmp_path / LOCK_FILE).exists()
    mine = FolderLock(tmp_path)
    mine.acquire()
    assert json.loads((tmp_path / LOCK_FILE).read_text())["process"] == os.getpid()
    mine.release()
    assert list(tmp_path.iterdir()) == []


def test_threads_of_one_process_exclude_each_other(tmp_path):
    mine, found = FolderLock(tmp_path), []
    mine.acquire()
    mine.acquire()  # it has it
    thread = threading.Thread(target=lambda: found.append(held(tmp_path)))
    thread.start()
    thread.join()
    assert found == [True]
    mine.release()
    mine.release()
    assert not held(tmp_path)


def test_a_child_that_outlives_it_does_not_hold_on_to_it(tmp_path):
    # The child says that it runs, after which it holds nothing.
    forking = HOLDER.replace("print(", "import os\nif os.fork(): time.sleep(600)\nprint(")
    command = [sys.executable, "-c", forking, tmp_path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, process_group=0) as process:
        assert process.stdout.readline() == "held\n"
        assert held(tmp_path)
        process.kill()
        process.wait()
        assert not held(tmp_path)
        os.killpg(process.pid, signal.SIGKILL)  # the child


def test_one_that_has_not_yet_said_who_it_is(tmp_path):
    mine = FolderLock(tmp_path)
    mine.acquire()
    for content in ("", "{", "[]", '{"process": 3}'):
        (tmp_path / LOCK_FILE).write_text(content)
        with pytest.raises(UserError, match="is in use by another training: wait"):
            FolderLock(tmp_path).acquire()
    mine.release()


def test_the_file_is_removed_by_whoever_holds_it_alone(tmp_path):
    first, second = FolderLock(tmp_path), FolderLock(tmp_path)
    first.acquire()
    (tmp_path / LOCK_FILE).unlink()  # by a person who knows better
    second.acquire()
    first.release()
    assert held(tmp_path)
    second.release()


def test_a_file_system_without_locks_is_said(tmp_path, monkeypatch, caplog):
    def no_locks(*_):
        raise OSError(lock.errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock.fcntl, "flock", no_locks)
    mine = FolderLock(tmp_path)
    mine.acquire()
    mine.release()
    assert "is on a file system without locks: nothing prevents a second training there" in caplog.text
