"""Checkpoints that are whole or not there: orbax writes the arrays, a manifest of our own vouches for every byte.

A directory of checkpoints holds one folder a step::

    checkpoints/
      1200/
        manifest.json    step, metrics, the tree's leaves, size and SHA-256 of every file, SHA-256 of itself
        state/           what orbax wrote
      tmp.1300/          being written; becomes 1300/ by one rename
      trash.900/         being deleted

Whatever moment a process is killed at, a folder with a number for its name is complete. Nothing is flushed to the
disk explicitly, so after a power cut a checkpoint may be damaged; then, as after a flipped bit, the manifest tells,
and the one before is used.
"""

import contextlib
import math
import os
import shutil
import warnings
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from jaxcnn.devices.processes import gather, is_writer
from jaxcnn.errors import UserError
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

_STATE = "state"
METRICS = ("top1_error", "ema_top1_error")
"""By which checkpoints are ranked; the lowest of each is kept."""


class CheckpointError(UserError):
    """A checkpoint that could not be written, or nothing whole to restore."""


class CheckpointMismatch(CheckpointError):
    """A checkpoint of another model, or of other shapes or dtypes."""


class Restored(NamedTuple):
    """What `Checkpoints.restore` gives back.

    Attributes:
        step: the step it was saved at.
        state: the tree, laid out and placed as the target was.
        metrics: what was measured at that step.
    """

    step: int
    state: PyTree
    metrics: dict[str, float]


def _warn(message: str) -> None:
    warnings.warn(message, RuntimeWarning, stacklevel=3)


class Checkpoints:
    """The checkpoints of one run: saved in the background, verified when restored.

    Leaving the process without `close` (or the ``with`` block) may lose the newest checkpoint, never an older one.
    Others may read the directory meanwhile: nothing in it is touched before the first `save`.

    Where several processes train one network, all must call `save` and `restore` in the same order. Process 0 alone
    writes, after leaves that are spread over them have been gathered; all read, so they must share the directory.

    Args:
        directory: where they live; made by the first `save`.
        keep: how many of the newest are kept, at least 1. The best by each of `METRICS` is kept beside them.
        on_damage: told, in one sentence each, about checkpoints that `restore` passed over; warns by default.
    """

    def __init__(
        self, directory: str | os.PathLike[str], *, keep: int = 3, on_damage: Callable[[str], None] = _warn
    ) -> None:
        if keep < 1:
            raise ValueError(f"keep must be at least 1, not {keep}")
        self._directory = Path(directory).absolute()
        self._keep = keep
        self._on_damage = on_damage
        alone = jax.process_index()  # orbax is not to wait for other processes: here each works for itself
        self._orbax = ocp.AsyncCheckpointer(
            ocp.StandardCheckpointHandler(),
            multiprocessing_options=ocp.options.MultiprocessingOptions(primary_host=alone, active_processes={alone}),
        )
        self._background = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._pending: Future[None] | None = None
        self._swept = False

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def save(self, step: int, state: PyTree, metrics: Mapping[str, float] | None = None) -> None:
        """Saves a state; returns as soon as its arrays may be donated, and commits in the background.

        A save still under way is waited for first. Where the step has a whole checkpoint already, only its metrics
        are brought up to date: a state is a function of its step, so the arrays would be the same.

        Steps after this one, left by a run that has gone back, are not counted against ``keep``: a run that restored
        an early checkpoint because the later ones are damaged does not delete the one it stands on.

        Args:
            step: the number of steps taken.
            state: any pytree of arrays.
            metrics: what was measured; the lowest of each of `METRICS` makes a best checkpoint.

        Raises:
            CheckpointError: this or the previous save failed (a full disk, say). Older checkpoints stay whole.
        """
        self.wait()
        state = _on_host(state)
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
            self._orbax.save(temporary / _STATE, args=ocp.args.StandardSave(state))
        manifest = {"step": int(step), "metrics": measured, "tree": _leaves(state)}
        self._pending = self._background.submit(self._commit, step, manifest)

    def steps(self) -> list[int]:
        """The steps with a committed checkpoint, oldest first; whether they are whole is not looked at."""
        return saved_steps(self._directory)

    def best(self, metric: str = METRICS[0]) -> int | None:
        """The step with the lowest finite metric, the earliest of equals; None where none was measured."""
        return next((step for error, step in self._ranking(metric) if math.isfinite(error)), None)

    def restore(
        self, target: PyTree, step: int | Literal["latest", "best"] = "latest", *, metric: str = METRICS[0]
    ) -> Restored | None:
        """Restores the newest, the best or a given checkpoint, once every file's size and SHA-256 are right.

        "latest" and "best" pass over damaged checkpoints to the next newest or next best, and tell ``on_damage``.

        Args:
            target: the tree to restore into, of arrays or `jax.ShapeDtypeStruct`. Each leaf comes back with the
                target's sharding, on however many devices it was saved; one without a sharding of its own (an
                uncommitted array, a struct that names none) comes back uncommitted, on the default device.
            step: a step's number, "latest" or "best".
            metric: one of `METRICS`, by which "best" is meant.

        Returns:
            The step, the state and its metrics, or None where nothing was ever saved.

        Raises:
            CheckpointMismatch: the checkpoint's leaves are not the target's; the first that differs is named.
            CheckpointError: there are checkpoints, but not that one, or none that is whole; or a save that was still
                under way has failed.
        """
        self.wait()
        found = gather(step_folders(self._directory))[0]  # of several processes, the first says what there is
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
        if difference := _difference(manifest["tree"], _leaves(target)):
            raise CheckpointMismatch(f"checkpoint {candidate} in {self._directory} is of another model: {difference}")
        state = self._read(self._directory / str(candidate) / _STATE, target)
        return Restored(candidate, state, manifest["metrics"])

    def wait(self) -> None:
        """Waits until the last save is committed.

        Raises:
            CheckpointError: it was not.
        """
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def close(self) -> None:
        """Waits for the last save and ends the background thread.

        Raises:
            CheckpointError: the last save failed.
        """
        try:
            self.wait()
        finally:
            self._background.shutdown()
            self._orbax.close()

    def _ranking(self, metric: str) -> list[tuple[float, int]]:
        """(error, step), best first. Where the manifest is unreadable the error is -inf: it might be the best."""
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
        # Orbax and the file system fail in many types; to the caller it is one event, with the cause chained to it.
        try:
            yield
        except Exception as error:
            shutil.rmtree(self._directory / f"tmp.{step}", ignore_errors=True)
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise CheckpointError(f"checkpoint {step} could not be saved in {self._directory}: {reason}") from error

    def _sweep(self) -> None:
        """Removes, once, what a killed process left behind."""
        if not self._swept:
            self._directory.mkdir(parents=True, exist_ok=True)
            for path in [*self._directory.glob("tmp.*"), *self._directory.glob("trash.*")]:
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink()
            self._swept = True

    def _commit(self, step: int, manifest: JsonObject) -> None:
        """In the background: waits for orbax, writes the manifest, publishes the folder and prunes."""
        temporary = self._directory / f"tmp.{step}"
        with self._saving(step):
            self._orbax.wait_until_finished()
            write_manifest(temporary / MANIFEST, manifest | {"files": fingerprints(temporary)})
            if (self._directory / str(step)).exists():
                self._delete(step)  # it is damaged, or save would not have come this far
            os.rename(temporary, self._directory / str(step))
            self._prune(step)

    def _prune(self, newest: int) -> None:
        best = {self.best(metric) for metric in METRICS}
        for step in [step for step in self.steps() if step <= newest][: -self._keep]:
            if step not in best:
                self._delete(step)

    def _delete(self, step: int) -> None:
        trash = self._directory / f"trash.{step}"
        os.rename(self._directory / str(step), trash)
        shutil.rmtree(trash)

    def _read(self, folder: Path, target: PyTree) -> PyTree:
        """Has orbax read a verified state, and puts it into the target's shardings."""
        on_host = jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), target)
        state = self._orbax.restore(folder, args=ocp.args.StandardRestore(on_host))

        def put(leaf: PyTree, read: np.ndarray) -> jax.Array:
            sharding = _sharding(leaf)
            if sharding is None:
                return jnp.array(read)  # uncommitted: one committed to a device could not meet others in a jitted call
            return jax.make_array_from_callback(leaf.shape, sharding, lambda index: read[index])

        return jax.tree.map(put, target, state)


def _on_host(state: PyTree) -> PyTree:
    """The state in the host's memory, whole even where leaves are spread over several processes.

    On a CPU these are views of the devices' buffers; orbax copies them before `save` returns.
    """

    def whole(leaf: PyTree) -> PyTree:
        spread = isinstance(leaf, jax.Array) and not (leaf.is_fully_addressable or leaf.is_fully_replicated)
        return multihost_utils.process_allgather(leaf, tiled=True) if spread else leaf

    return jax.device_get(jax.tree.map(whole, state))


def _sharding(leaf: PyTree) -> jax.sharding.Sharding | None:
    """The sharding somebody asked for, None where JAX was left to choose."""
    return getattr(leaf, "sharding", None) if getattr(leaf, "committed", True) else None


def _leaves(tree: PyTree) -> dict[str, str]:
    """Each leaf's path and type: ``{"params/conv1/kernel": "float32[5,5,1,6]"}``, in the tree's order."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]"
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def _difference(saved: Mapping[str, str], wanted: Mapping[str, str]) -> str | None:
    """The first leaf in which a checkpoint and a model differ, as a clause."""
    for path in [*saved, *wanted]:
        if path not in wanted:
            return f"{path} is {saved[path]} in the checkpoint and missing in the model"
        if path not in saved:
            return f"{path} is missing in the checkpoint and {wanted[path]} in the model"
        if saved[path] != wanted[path]:
            return f"{path} is {saved[path]} in the checkpoint and {wanted[path]} in the model"
    return None
