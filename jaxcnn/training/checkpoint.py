"""Checkpoints that are either whole or absent: orbax writes the arrays, and a manifest covers every byte.

A directory of checkpoints holds one folder for each step::

    checkpoints/
      1200/
        manifest.json    step, metrics, sums, the tree's leaves, size and SHA-256 of every file, SHA-256 of itself
        state/           what orbax wrote
      tmp.1300/          being written; becomes 1300/ by one rename
      trash.900/         being deleted

A folder that has a number for its name is complete, at whatever moment a process is killed. Nothing is flushed to the
disk explicitly, so a power cut may damage a checkpoint. The manifest shows that, as it shows a flipped bit, and the
checkpoint before is used.
"""

import contextlib
import glob
import logging
import math
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.typing import ArrayLike

from jaxcnn.devices.processes import gather, is_writer
from jaxcnn.errors import MachineError, UserError
from jaxcnn.evaluation.result import ranked_metrics
from jaxcnn.paths import expanded
from jaxcnn.training.leaves import difference, leaves
from jaxcnn.training.manifest import (
    MANIFEST,
    Damage,
    fingerprints,
    read_manifest,
    saved_steps,
    step_folders,
    verify,
    write_manifest,
)
from jaxcnn.types import JsonObject, PyTree

if TYPE_CHECKING:  # it takes as long to import as NumPy, and a run that begins needs it only at its first save
    import orbax.checkpoint

_STATE = "state"


def _is_of_others(record: logging.LogRecord) -> bool:
    """Returns whether a line of Abseil's log is none of orbax's, which logs a traceback of each error that it raises.

    The error comes to the caller of `Checkpoints`, as a sentence.
    """
    return f"{os.sep}orbax{os.sep}" not in record.pathname or record.levelno < logging.ERROR


RANKED = ranked_metrics((1,))
"""The metrics by which checkpoints are ranked where nothing else is asked for."""


class CheckpointError(UserError):
    """An error for where no whole checkpoint can be restored."""


class SaveError(MachineError):
    """An error for a checkpoint that cannot be written, as on a full disk; those before it stay whole."""


class CheckpointMismatch(CheckpointError):
    """An error for a checkpoint of another model, or of other shapes or dtypes."""


class Restored(NamedTuple):
    """The checkpoint that `Checkpoints.restore` read.

    Attributes:
        step: the step at which it was saved.
        state: the tree, with the layout and the shardings of the target.
        metrics: the metrics that were measured at that step.
        sums: the sums that were saved with the state; empty where there were none.
    """

    step: int
    state: PyTree
    metrics: dict[str, float]
    sums: dict[str, float]


def _warn(message: str) -> None:
    warnings.warn(message, RuntimeWarning, stacklevel=3)


class Checkpoints:
    """The checkpoints of one run: saved in the background, verified when restored.

    A process that ends without `close` (or the end of the ``with`` block) may lose the newest checkpoint, but never an
    older one. Others may read the directory at the same time: nothing in it is touched before the first `save`.

    Where several processes train one network, all must call `save` and `restore` in the same order. Process 0 alone
    writes, after the leaves that are spread over the processes have been gathered. All of them read, so they must share
    the directory.

    Args:
        directory: the folder of the checkpoints; the first `save` makes it.
        keep: the number of the newest checkpoints that are kept, at least 1. The best by each of ``ranked``
            is kept too.
        ranked: the names of the metrics whose lowest value makes a checkpoint the best.
        on_damage: called with one sentence for each damaged checkpoint that `restore` passes over; by default it warns.
    """

    def __init__(
        self,
        directory: str | Path,
        *,
        keep: int = 3,
        ranked: Sequence[str] = RANKED,
        on_damage: Callable[[str], None] = _warn,
    ) -> None:
        if keep < 1:
            raise ValueError(f"keep must be at least 1, not {keep}")
        self._directory = expanded(directory).absolute()
        self._keep = keep
        self._ranked = tuple(ranked)
        self._on_damage = on_damage
        self._background = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._pending: Future[None] | None = None
        self._opened: orbax.checkpoint.AsyncCheckpointer | None = None
        self._swept = False
        self._links: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def save(
        self,
        step: int,
        state: PyTree,
        metrics: Mapping[str, float] | None = None,
        sums: Mapping[str, ArrayLike] | None = None,
    ) -> None:
        """Saves a state; returns as soon as its arrays may be donated, and commits in the background.

        It first waits for a save that is still under way. Where the step has a whole checkpoint already, only the
        metrics are updated: a state is a function of its step, so the arrays would be the same.

        Later steps, which a run leaves behind that has gone back, do not count towards ``keep``. So a run that restored
        an early checkpoint because the later ones are damaged does not delete the one that it goes on from.

        Args:
            step: the number of steps taken.
            state: any pytree of arrays.
            metrics: what was measured; the lowest value of each of the ranked ones makes a checkpoint the best.
            sums: what was added up since the last line of the log, which is a part of what a run goes on from. They are
                numbers, () float32 or int32, and are kept in the manifest.

        Raises:
            SaveError: this save or the one before failed, for example on a full disk. Older checkpoints stay whole.
        """
        self.wait()
        state, sums = _on_host(state), _on_host(dict(sums or {}))
        if not is_writer():
            return
        measured = {name: float(value) for name, value in (metrics or {}).items()}
        folder, temporary = self._directory / str(step), self._directory / f"tmp.{step}"
        with self._saving(step):
            self._sweep()
            if folder.exists():
                with contextlib.suppress(Damage):
                    manifest = verify(folder)
                    update = self._directory / f"tmp.{step}.json"
                    write_manifest(update, manifest | {"metrics": manifest["metrics"] | measured})
                    os.replace(update, folder / MANIFEST)
                    return
            temporary.mkdir()
            from orbax.checkpoint import args  # see the top of this file

            self._orbax().save(self._plain(temporary) / _STATE, args=args.StandardSave(state))
        added_up = {name: float(value) for name, value in sums.items()}
        manifest = {"step": int(step), "metrics": measured, "sums": added_up, "tree": leaves(state)}
        self._pending = self._background.submit(self._commit, step, manifest)

    def steps(self) -> list[int]:
        """Returns the steps with a committed checkpoint, oldest first, without checking that these are whole."""
        return saved_steps(self._directory)

    def best(self, metric: str | None = None) -> int | None:
        """Returns the step with the lowest finite metric, the earliest of equals; None where none was measured."""
        return next((step for error, step in self._ranking(metric or self._ranked[0]) if math.isfinite(error)), None)

    def restore(
        self, target: PyTree, step: int | Literal["latest", "best"] = "latest", *, metric: str | None = None
    ) -> Restored | None:
        """Restores the newest, the best or a given checkpoint, once every file's size and SHA-256 have been checked.

        "latest" and "best" pass over damaged checkpoints to the next newest or next best, and call ``on_damage``.

        Args:
            target: the tree to restore into, of arrays or `jax.ShapeDtypeStruct`. Each leaf comes back with the
                target's sharding, whatever the number of devices on which it was saved. A leaf without a sharding of
                its own (an uncommitted array, a struct that names none) comes back uncommitted, on the default device.
            step: a step's number, "latest" or "best".
            metric: the metric with whose lowest value a checkpoint is the "best"; by default the first ranked one.

        Returns:
            The step, the state and its metrics, or None where nothing was ever saved.

        Raises:
            CheckpointMismatch: the checkpoint's leaves are not the target's; the message names the first difference.
            CheckpointError: there are checkpoints, but not that one, or none that is whole.
            SaveError: a save that was still under way has failed.
        """
        metric = metric or self._ranked[0]
        self.wait()
        found = gather(step_folders(self._directory))[0]  # all processes go by what the first one sees
        if not found:
            return None
        if step == "latest":
            candidates = found[::-1]
        elif step == "best":
            candidates = gather([ranked for _, ranked in self._ranking(metric)])[0]
        else:
            candidates = [step] if step in found else []
        if not candidates:
            missing = f"no checkpoint with a finite {metric}" if step == "best" else f"no checkpoint {step}"
            raise CheckpointError(f"{self._directory} holds {missing}: its steps are {', '.join(map(str, found))}")

        damages: list[str] = []
        for candidate in candidates:
            damage = None
            try:
                manifest = verify(self._directory / str(candidate))
            except Damage as seen:
                damage = str(seen)
            # A checkpoint that one process cannot read is passed over by all.
            damage = next(filter(None, gather(damage)), None)
            if damage is None:
                break
            damages.append(f"checkpoint {candidate} in {self._directory} is damaged: {damage}")
        else:
            raise CheckpointError("; ".join(damages))
        for damage in damages:
            self._on_damage(f"{damage}; checkpoint {candidate} is used instead")
        if other := difference(manifest["tree"], leaves(target)):
            raise CheckpointMismatch(f"checkpoint {candidate} in {self._directory} is of another model: {other}")
        state = self._read(self._directory / str(candidate) / _STATE, target)
        return Restored(candidate, state, manifest["metrics"], manifest.get("sums", {}))

    def wait(self) -> None:
        """Waits until the last save is committed.

        Raises:
            SaveError: the save failed.
        """
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def close(self) -> None:
        """Waits for the last save and ends the background thread.

        Raises:
            SaveError: the last save failed.
        """
        try:
            self.wait()
        finally:
            self._background.shutdown()
            if self._opened is not None:
                self._opened.close()
            if self._links is not None:
                self._links.cleanup()

    def _orbax(self) -> "orbax.checkpoint.AsyncCheckpointer":
        """Returns orbax's checkpointer, which is imported and made when it is first asked for."""
        if self._opened is None:
            import orbax.checkpoint as ocp

            logging.getLogger("absl").addFilter(_is_of_others)  # Abseil, which orbax has imported, makes this logger
            alone = jax.process_index()  # orbax must not wait for other processes, because each works alone here
            self._opened = ocp.AsyncCheckpointer(
                ocp.StandardCheckpointHandler(),
                multiprocessing_options=ocp.options.MultiprocessingOptions(
                    primary_host=alone, active_processes={alone}
                ),
            )
        return self._opened

    def _plain(self, path: Path) -> Path:
        """Returns a path in the directory without ``*``, ``?`` and ``[``, in which orbax would see a pattern."""
        if glob.escape(str(path)) == str(path):
            return path
        if self._links is None:
            self._links = tempfile.TemporaryDirectory(prefix="jaxcnn_")
            Path(self._links.name, "checkpoints").symlink_to(self._directory)
        return Path(self._links.name, "checkpoints", path.relative_to(self._directory))

    def _ranking(self, metric: str) -> list[tuple[float, int]]:
        """Returns (error, step), best first; an unreadable manifest gets -inf, because it might be the best."""
        ranking = []
        for step in step_folders(self._directory):
            try:
                error = read_manifest(self._directory / str(step))["metrics"].get(metric, math.nan)
            except Damage:
                ranking.append((-math.inf, step))
            else:
                if math.isfinite(error):
                    ranking.append((error, step))
        return sorted(ranking)

    @contextlib.contextmanager
    def _saving(self, step: int) -> Generator[None]:
        # Orbax and the file system raise many types; the caller gets one type, with the cause chained to it.
        try:
            yield
        except Exception as error:
            shutil.rmtree(self._directory / f"tmp.{step}", ignore_errors=True)
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise SaveError(
                f"checkpoint {step} could not be saved in {self._directory}: {reason}: make room, and run the same "
                "command again, which goes on from the checkpoint before"
            ) from error

    def _sweep(self) -> None:
        """Removes what a killed process left behind; does so only once."""
        if not self._swept:
            self._directory.mkdir(parents=True, exist_ok=True)
            for path in [*self._directory.glob("tmp.*"), *self._directory.glob("trash.*")]:
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink()
            self._swept = True

    def _commit(self, step: int, manifest: JsonObject) -> None:
        """Waits for orbax, writes the manifest, publishes the folder and prunes; runs in the background."""
        temporary = self._directory / f"tmp.{step}"
        with self._saving(step):
            self._orbax().wait_until_finished()
            write_manifest(temporary / MANIFEST, manifest | {"files": fingerprints(temporary)})
            if (self._directory / str(step)).exists():
                self._delete(step)  # it is damaged: `save` returns earlier where it is whole
            os.rename(temporary, self._directory / str(step))
            self._prune(step)

    def _prune(self, newest: int) -> None:
        best = {self.best(metric) for metric in self._ranked}
        for step in [step for step in self.steps() if step <= newest][: -self._keep]:
            if step not in best:
                self._delete(step)

    def _delete(self, step: int) -> None:
        trash = self._directory / f"trash.{step}"
        os.rename(self._directory / str(step), trash)
        shutil.rmtree(trash)

    def _read(self, folder: Path, target: PyTree) -> PyTree:
        """Reads a verified state with orbax, and puts it into the target's shardings."""
        on_host = jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), target)
        from orbax.checkpoint import args  # see the top of this file

        state = self._orbax().restore(self._plain(folder), args=args.StandardRestore(on_host))

        def put(leaf: PyTree, read: np.ndarray) -> jax.Array:
            sharding = _sharding(leaf)
            if sharding is None:
                return jnp.array(read)  # uncommitted, because jit refuses arrays that are committed to other devices
            return jax.make_array_from_callback(leaf.shape, sharding, lambda index: read[index])

        return jax.tree.map(put, target, state)


def _on_host(state: PyTree) -> PyTree:
    """Returns the state in the host's memory, whole even where leaves are spread over several processes.

    On a CPU its arrays are views of the devices' buffers; orbax copies them before `save` returns.
    """

    def whole(leaf: PyTree) -> PyTree:
        spread = isinstance(leaf, jax.Array) and not (leaf.is_fully_addressable or leaf.is_fully_replicated)
        return multihost_utils.process_allgather(leaf, tiled=True) if spread else leaf

    return jax.device_get(jax.tree.map(whole, state))


def _sharding(leaf: PyTree) -> jax.sharding.Sharding | None:
    """Returns the sharding that was asked for; None where JAX was left to choose."""
    return getattr(leaf, "sharding", None) if getattr(leaf, "committed", True) else None
