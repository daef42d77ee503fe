"""No child outlives the process that started it, however that one ends."""

import os
import signal
import subprocess
import sys
import time

import pytest

from jaxcnn.children import Children

# A worker with a child of its own, both in one session, as a DataLoader's are. It says their numbers and waits.
WORKER = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
import os
print(os.getpid(), child.pid, flush=True)
time.sleep(600)
"""
PARENT = f"""
import os, signal, subprocess, sys, time
from jaxcnn.children import Children
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell lets what it starts in the background ignore it
with Children() as children:
    workers = [
        children.start([sys.executable, "-S", "-c", {WORKER!r}], stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    print(*(worker.stdout.readline().strip() for worker in workers), flush=True)
    for worker in workers:
        os.killpg(worker.pid, signal.SIGSTOP)  # as a contender that waits for its turn
    print("stopped", flush=True)
    time.sleep(600)
"""


def is_alive(number):
    """Whether there is such a process, other than one that has ended and is not waited for yet."""
    try:
        with open(f"/proc/{number}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(condition):
    for _ in range(600):
        if condition():
            return
        time.sleep(0.05)
    pytest.fail("it did not happen in 30 s")


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="processes are looked up in /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_stopped_children_and_theirs_end_with_their_parent(number):
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    numbers = [int(word) for word in parent.stdout.readline().split()]
    assert parent.stdout.readline() == "stopped\n"
    assert len(numbers) == 4
    assert all(map(is_alive, numbers))
    parent.send_signal(number)
    parent.communicate()
    wait_until(lambda: not any(map(is_alive, numbers)))


def test_children_end_with_their_block_and_one_that_has_ended_does_no_harm():
    with Children() as children:
        ended = children.start([sys.executable, "-S", "-c", "print(1)"], stdout=subprocess.PIPE, text=True)
        assert ended.communicate() == ("1\n", None)
        waiting = children.start([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
        assert waiting.poll() is None
    assert (ended.returncode, waiting.returncode) == (0, -signal.SIGKILL)
