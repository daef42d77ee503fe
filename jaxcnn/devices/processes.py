"""Several processes that train one network: how they join, what they agree on, and which of them writes.

All run the same program on the same config, and meet in the same collectives in the same order. What decides whether
there is a next collective must be the same in all of them: `gather` and `AgreedStop` are for that.
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
from jaxcnn.errors import EXIT_USER_ERROR, UserError
from jaxcnn.lookahead import Delay
from jaxcnn.types import Json

_GRACE_SECONDS = 2.0
"""How much later process 0 leaves after an error: its end ends the others, who may be saying the same."""
_GATHERED_AT_ONCE = 1024
"""Bytes that `gather` rounds up to, because every length is compiled for anew."""


@dataclasses.dataclass(frozen=True)
class Processes:
    """Which of several processes this is. By default it is the only one."""

    distributed: Literal["auto"] | None = None
    """``auto``: one of several processes, as SLURM, Open MPI, Kubernetes or Cloud TPU has started them. Elsewhere give
    the three options below."""
    coordinator_address: str | None = None
    """HOST:PORT of process 0, as the others reach it."""
    num_processes: int | None = None
    """How many there are."""
    process_id: int | None = None
    """Which one this is, from 0."""
    heartbeat_timeout_seconds: int = 100
    """How long nothing may be heard of a process before the others take it for dead, and end."""

    @contextlib.contextmanager
    def joined(self) -> Generator[None]:
        """While entered, this process is one of them; does nothing where there is only one.

        Must be entered before any array is made. A process that fails leaves at once, with the exit code it would have
        alone: at JAX's own way out it would wait for the others, and they for it in their next collective.

        Raises:
            UserError: the options do not say which process this is, or ``auto`` finds nothing that does.
        """
        if not self._several():
            yield
            return
        # JAX would take SIGTERM for its own, and `StopRequest` could not give it back.
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
            atexit.register(_leave, EXIT_USER_ERROR if isinstance(error, UserError) else 1, grace)
            raise

    def _several(self) -> bool:
        """Whether there are several processes, once the options are known to make sense."""
        address, count, number = self.coordinator_address, self.num_processes, self.process_id
        given = {"--coordinator-address": address, "--num-processes": count, "--process-id": number}
        missing = [option for option, value in given.items() if value is None]
        if self.heartbeat_timeout_seconds < 1:
            raise UserError(f"--heartbeat-timeout-seconds must be at least 1, not {self.heartbeat_timeout_seconds}")
        if len(missing) == len(given):
            return self.distributed == "auto"
        if self.distributed == "auto":
            [*_, option] = (option for option in given if option not in missing)
            raise UserError(f"--distributed auto finds out itself what {option} says: give one of the two")
        if address is None or count is None or number is None:
            raise UserError(
                f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing: give {', '.join(given)}"
            )
        if not re.fullmatch(r".+:\d+", address):
            raise UserError(f"--coordinator-address must be HOST:PORT, not {address!r}")
        if not 0 <= number < count:
            raise UserError(f"--process-id {number} is none of {count} processes: they count from 0")
        return True


def _leave(code: int, grace: float) -> None:
    """Ends this process after so many seconds, without JAX's way out."""
    time.sleep(grace)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def is_writer() -> bool:
    """Whether this is the one process that writes files and says something."""
    return jax.process_index() == 0


def gather(value: Json) -> list[Json]:
    """Returns what each process gave, in their order; they all must call it, at the same point of their programs.

    Args:
        value: anything that JSON can hold, and that comes back from it as it was.
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
    """Makes sure that all processes have the same.

    Args:
        what: names the value, for the message.
        value: as `gather` takes it.

    Raises:
        UserError: they have not; raised in all of them.
    """
    first, *others = gather(value)
    for number, other in enumerate(others, 1):
        if other != first:
            raise UserError(
                f"process {number} has another {what} than process 0: start all with the same command, code and data"
            )


class AgreedStop:
    """Whether any process was asked to stop; all of them, if they call it equally often, hear so at the same call.

    The processes' flags are summed on the devices, and the sum is looked at some calls later, when it has long been
    there: nobody waits for it.

    Args:
        asked: whether this process was.
        parallel: the devices.
        delay: how many calls later the answer comes.
    """

    def __init__(self, asked: Callable[[], bool], parallel: DataParallel, delay: int) -> None:
        self._asked = asked
        self._put = parallel.put_batch
        self._sum = jax.jit(jnp.sum, out_shardings=parallel.replicated)
        self._flags = len(parallel.rows(parallel.mesh.size))
        self._earlier = Delay[jax.Array](delay)
        self._agreed = False

    def __call__(self) -> bool:
        """Whether all are to stop now; once True, always True."""
        if not self._agreed:
            flags = np.full(self._flags, self._asked(), np.int32)
            asked = self._earlier(self._sum(self._put(flags)))
            self._agreed = asked is not None and int(asked) > 0
        return self._agreed
