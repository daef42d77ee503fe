"""`jaxcnn train` with a signal that comes when it must: `python hooked_train.py MOMENT SIGNAL MARKER ARGUMENTS`.

The process sends itself the signal at the moment, once: the file MARKER then says that it has.
"""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import jax

from jaxcnn.cli import train
from jaxcnn.cli.main import run_command
from jaxcnn.evaluation.evaluator import Evaluator
from jaxcnn.training import checkpoint
from jaxcnn.training.report import Reporter

STEP = 10
"""The step after which the signal comes in training."""


def install(moment, send, setattr=setattr):
    """Has ``send`` called in training, evaluation, compilation or saving.

    Args:
        moment: which of the four.
        send: sends the signal.
        setattr: replaces an attribute: `setattr`, or a monkeypatch's.
    """
    advance, results = Reporter.advance, Evaluator.results
    compiled, write_manifest = jax.stages.Lowered.compile, checkpoint.write_manifest

    def signalled_in_training(self, step):
        advance(self, step)
        if step == STEP:
            send()

    def signalled_in_evaluation(*args, stop, **kwargs):
        def asked():  # before its first batch
            send()
            return stop()

        return results(*args, stop=asked, **kwargs)

    def signalled_in_compilation(self, *args, **kwargs):
        def later():  # when the compiler has begun, which takes a hundred times as long
            time.sleep(0.01)
            send()

        sender = threading.Thread(target=later)
        sender.start()
        result = compiled(self, *args, **kwargs)
        sender.join()
        return result

    def signalled_in_saving(path, manifest):
        send()
        write_manifest(path, manifest)

    match moment:
        case "training":
            setattr(Reporter, "advance", signalled_in_training)
        case "evaluation":
            setattr(Evaluator, "results", signalled_in_evaluation)
        case "compilation":
            setattr(jax.stages.Lowered, "compile", signalled_in_compilation)
        case "saving":
            setattr(checkpoint, "write_manifest", signalled_in_saving)


if __name__ == "__main__":
    moment, name, marker = sys.argv[1], signal.Signals[sys.argv[2]], Path(sys.argv[3])
    del sys.argv[1:4]

    def send():
        if not marker.exists():
            marker.touch()
            os.kill(os.getpid(), name)

    install(moment, send)
    sys.exit(run_command(train.main, sys.argv[1:]))
