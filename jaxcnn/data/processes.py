"""Processes that decode and cut images for this one, whose threads share Python's lock and so have a bound together.

This process reads the files, and does all that needs a whole split. A process that cuts is given files, and what to cut
of them, and gives back pixels. Both lie in memory that the two share; its standard input and output carry a line for
each order and its answer. It knows nothing else, so that it starts within a second, and ends with the process that
feeds it, however that one ends: its input is at an end then.
"""

import atexit
import contextlib
import functools
import itertools
import mmap
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator, Sequence
from typing import IO, NamedTuple

import numpy as np

from jaxcnn.data.cutter import Uncut
from jaxcnn.errors import UserError

_KEEP_MEMORY = {"MALLOC_TRIM_THRESHOLD_": str(1 << 28), "MALLOC_MMAP_THRESHOLD_": str(1 << 25)}
"""The environment variables by which glibc keeps what is freed: the system would otherwise have to clear the same pages
for every image, for a seventh of its time."""
_PROGRAM = """
import signal
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
from {module} import serve
serve({file})
"""
"""What such a process runs. What asks the one that it works for to stop, such as Ctrl-C or a scheduler, asks it too,
and that one may have steps to finish first."""


class _Order(NamedTuple):
    """One image to be cut, and where its file and its pixels are in the shared memory."""

    image: Uncut
    """The image, whose file is in the shared memory instead."""
    file: slice
    pixels: slice


@functools.cache
def cutting_processes(count: int) -> "CuttingProcesses":
    """Returns the processes that all splits of this one share; each is started when it is needed."""
    return CuttingProcesses(count)


class CuttingProcesses:
    """Several processes that cut; its methods may be called from many threads."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._free = threading.BoundedSemaphore(count)
        self._idle: list[_Process] = []
        atexit.register(self.close)

    def cut(self, images: Sequence[Uncut], into: Sequence[np.ndarray]) -> list[bool]:
        """Cuts images in one of the processes, and waits until that is done.

        Args:
            images: what to cut.
            into: where the pixels of each belong, uint8 of shape ``(size, size, channels)``.

        Returns:
            Whether each could be cut; where not, its pixels are not set, and `Uncut.cut` says why.

        Raises:
            UserError: the process was ended from outside.
        """
        with self._one() as process:
            return process.cut(images, into)

    def close(self) -> None:
        """Ends the processes that are idle."""
        while self._idle:
            self._idle.pop().end()

    @contextlib.contextmanager
    def _one(self) -> Generator["_Process"]:
        """Yields a process that nobody else uses meanwhile, and ends it where the block raises."""
        with self._free:
            try:
                process = self._idle.pop()
            except IndexError:
                process = _Process()
            try:
                yield process
            except BaseException:
                process.end()
                raise
            self._idle.append(process)


class _Process:
    """One process that cuts, and the memory that it shares with this one."""

    def __init__(self) -> None:
        self._file = _nameless_file()
        self._memory: mmap.mmap | None = None
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM.format(module=__name__, file=self._file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | _KEEP_MEMORY,
            pass_fds=[self._file],
        )

    def cut(self, images: Sequence[Uncut], into: Sequence[np.ndarray]) -> list[bool]:
        """See `CuttingProcesses.cut`."""
        orders = _planned(images, into)
        needed = orders[-1].pixels.stop
        if self._memory is None or len(self._memory) < needed:
            os.ftruncate(self._file, needed)
            self._memory = mmap.mmap(self._file, needed)
        for order, image in zip(orders, images, strict=True):
            self._memory[order.file] = image.file
        answers = self._asked(pickle.dumps(orders), len(images))
        for order, pixels, answer in zip(orders, into, answers, strict=True):
            if answer:
                np.copyto(pixels, _pixels(self._memory, order).reshape(pixels.shape))
        return list(map(bool, answers))

    def _asked(self, message: bytes, count: int) -> bytes:
        """Returns the answer to orders, one byte for each: whether it was done."""
        assert self._process.stdin is not None  # they are pipes
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(len(message).to_bytes(8) + message)
            self._process.stdin.flush()
            return _read(self._process.stdout, count)
        except (BrokenPipeError, EOFError):
            code = self._process.wait()
            how = f"signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"status {code}"
            raise UserError(
                f"a process that decodes images ended with {how}: where memory ran out, set fewer data.processes, else "
                "set none of them to see why"
            ) from None

    def end(self) -> None:
        """Ends the process."""
        self._process.kill()
        with contextlib.suppress(BrokenPipeError), self._process:  # closes its pipes, and waits for its end
            pass
        os.close(self._file)


def _nameless_file() -> int:
    """Returns the descriptor of a file in memory that has no name, and so is gone when no process has it open."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("jaxcnn")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _planned(images: Sequence[Uncut], into: Sequence[np.ndarray]) -> list[_Order]:
    """Returns orders of images, with all files in the shared memory before all pixels."""
    lengths = [*(len(image.file) for image in images), *(pixels.nbytes for pixels in into)]
    slices = list(itertools.starmap(slice, itertools.pairwise(itertools.accumulate(lengths, initial=0))))
    blank = [image._replace(file=b"") for image in images]
    return list(map(_Order, blank, slices[: len(images)], slices[len(images) :]))


def _pixels(memory: mmap.mmap, order: _Order) -> np.ndarray:
    return np.frombuffer(memory, np.uint8, order.pixels.stop - order.pixels.start, order.pixels.start)


def _read(pipe: IO[bytes], count: int) -> bytes:
    """Returns exactly so many bytes.

    Raises:
        EOFError: the pipe is at its end.
    """
    found = pipe.read(count)
    if len(found) < count:
        raise EOFError
    return found


def serve(file: int) -> None:
    """Cuts what is ordered through standard input until that is at its end; this is all that such a process does.

    Args:
        file: the descriptor of the file that is the shared memory.
    """
    asked, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not get among the answers
    memory = None
    with contextlib.suppress(EOFError, BrokenPipeError):  # nobody wants the rest
        while True:
            orders: list[_Order] = pickle.loads(_read(asked, int.from_bytes(_read(asked, 8))))
            if memory is None or len(memory) < orders[-1].pixels.stop:
                memory = mmap.mmap(file, 0)
            answers.write(bytes(_carried_out(order, memory) for order in orders))
            answers.flush()


def _carried_out(order: _Order, memory: mmap.mmap) -> bool:
    """Cuts one image; returns whether it could be cut."""
    try:
        pixels = order.image._replace(file=memory[order.file]).cut()
    except Exception:  # the process that ordered it tries again, and says what is wrong
        return False
    np.copyto(_pixels(memory, order).reshape(pixels.shape), pixels)
    return True
