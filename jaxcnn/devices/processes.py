"""Several processes that train one network: how they join, what they agree on, and which of them writes.

All processes run the same program on the same config, and take part in the same collectives in the same order. Whatever
decides whether there is another collective must be the same in all of them, which `gather` and `AgreedStop` provide.
"""

import atexit
import contextlib
import dataclasses
import json
import os
import re
import sys
import time
from collections.abc import Callable, Generator
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils

from jaxcnn.devices.parallel import DataParallel
from jaxcnn.errors import UserError, exit_code
from jaxcnn.lookahead import Delay
from jaxcnn.types import Json

_GRACE_SECONDS = 2.0
"""The time that process 0 waits before it leaves after an error. Its end ends the other processes, which may be
printing the same error."""
_GATHERED_AT_ONCE = 1024
"""The number of bytes that `gather` rounds up to a multiple of, because it compiles anew for every length."""


@dataclasses.dataclass(frozen=True)
class Processes:
    """Which of several processes this is. By default it is the only one."""

    distributed: Literal["auto"] | None = None
    """With ``auto`` this is one of several processes that SLURM, Open MPI, Kubernetes or Cloud TPU has started.
    Elsewhere give the three options below."""
    coordinator_address: str | None = None
    """The HOST:PORT at which the other processes reach process 0."""
    num_processes: int | None = None
    """The number of processes."""
    process_id: int | None = None
    """The number of this process, from 0."""
    heartbeat_timeout_seconds: int = 100
    """The time after which a process that has not been heard of counts as dead, and the others end."""

    @contextlib.contextmanager
    def joined(self) -> Generator[None]:
        """Makes this process one of several while the context is entered; does nothing where it is the only one.

        It must be entered before any array is made. A process that fails ends at once, with the exit code that it would
        have alone: at a usual exit JAX would make it wait for the others, which wait for it in their next collective.

        Raises:
            UserError: the options do not say which process this is, or ``auto`` finds no launcher that says it.
        """
        if not self._several():
            yield
            return
        # JAX would handle SIGTERM itself, and `StopRequest` could not restore its handler.
        jax.config.update("jax_enable_preemption_service", False)
        try:
            jax.distributed.initialize(
                self.coordinator_address,
                self.num_processes,
                self.process_id,
                heartbeat_timeout_seconds=self.heartbeat_timeout_seconds,
            )
        except ValueError as error:
            raise UserError(
                "--distributed auto finds neither SLURM nor Open MPI, Kubernetes or Cloud TPU around this process "
                f"({error}): give --coordinator-address, --num-processes and --process-id"
            ) from None
        grace = 0.0
        try:
            grace = _GRACE_SECONDS if is_writer() else 0.0
            yield
        except BaseException as error:
            atexit.register(_leave, exit_code(error), grace)
            raise

    def _several(self) -> bool:
        """Returns whether there are several processes, after checking that the options fit together."""
        address, count, number = self.coordinator_address, self.num_processes, self.process_id
        given = {"--coordinator-address": address, "--num-processes": count, "--process-id": number}
        missing = [option for option, value in given.items() if value is None]
        if self.heartbeat_timeout_seconds < 1:
            raise UserError(f"--heartbeat-timeout-seconds must be at least 1, not {self.heartbeat_timeout_seconds}")
        if len(missing) == len(given):
            return self.distributed == "auto"
        if self.distributed == "auto":
            [*_, option] = (option for option in given if option not in missing)
            raise UserError(f"--distributed auto finds out by itself what {option} says: give only one of the two")
        if address is None or count is None or number is None:
            raise UserError(
                f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing: give {', '.join(given)}"
            )
        if not re.fullmatch(r".+:\d+", address):
            raise UserError(f"--coordinator-address must be HOST:PORT, not {address!r}")
        if not 0 <= number < count:
            raise UserError(f"--process-id {number} is not one of {count} processes: they are numbered from 0")
        return True


def _leave(code: int, grace: float) -> None:
    """Ends this process after this many seconds, without JAX's exit handlers."""
    time.sleep(grace)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def is_writer() -> bool:
    """Returns whether this is the one process that writes files and prints."""
    return jax.process_index() == 0


def gather(value: Json) -> list[Json]:
    """Returns the values that the processes give, in their order; all must call it at the same point of the program.

    Args:
        value: anything that can be written as JSON and read back unchanged.
    """
    if jax.process_count() == 1:
        return [value]
    sent = np.frombuffer(json.dumps(value).encode(), np.uint8)
    sizes = multihost_utils.process_allgather(np.int32(len(sent)))
    padded = np.zeros(-(-int(sizes.max()) // _GATHERED_AT_ONCE) * _GATHERED_AT_ONCE, np.uint8)
    padded[: len(sent)] = sent
    received = multihost_utils.process_allgather(padded)
    return [json.loads(row[:size].tobytes()) for row, size in zip(received, sizes, strict=True)]


def check_same(what: str, value: Json) -> None:
    """Makes sure that all processes have the same value.

    Args:
        what: the name of the value, for the message.
        value: the value, as `gather` takes it.

    Raises:
        UserError: the values differ; all processes raise it.
    """
    first, *others = gather(value)
    for number, other in enumerate(others, 1):
        if other != first:
            raise UserError(
                f"process {number} has another {what} than process 0: start all with the same command, code and data"
            )


class AgreedStop:
    """Tells all processes, at the same call, whether any of them was asked to stop; all must call it equally often.

    The processes' flags are summed on the devices. The sum is read some calls later, when it has long been computed, so
    that no process waits for it.

    Args:
        asked: returns whether this process was asked to stop.
        parallel: the devices.
        delay: the number of calls after which the sum is read.
    """

    def __init__(self, asked: Callable[[], bool], parallel: DataParallel, delay: int) -> None:
        self._asked = asked
        self._put = parallel.put_batch
        self._sum = jax.jit(jnp.sum, out_shardings=parallel.replicated)
        self._flags = len(parallel.rows(parallel.mesh.size))
        self._earlier = Delay[jax.Array](delay)
        self._agreed = False

    def __call__(self) -> bool:
        """Returns whether all processes must stop now; once True, it stays True."""
        if not self._agreed:
            flags = np.full(self._flags, self._asked(), np.int32)
            asked = self._earlier(self._sum(self._put(flags)))
            self._agreed = asked is not None and int(asked) > 0
        return self._agreed
