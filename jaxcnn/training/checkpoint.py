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
import hashlib
import json
import math
import os
import re
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from jaxcnn.errors import UserError

_MANIFEST = "manifest.json"
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
    state: Any
    metrics: dict[str, float]


class _Damage(Exception):
    """What is wrong with a checkpoint: the file, relative to its folder, and a verb."""


def _warn(message: str) -> None:
    warnings.warn(message, RuntimeWarning, stacklevel=3)


class Checkpoints:
    """The checkpoints of one run: saved in the background, verified when restored.

    Leaving the process without `close` (or the ``with`` block) may lose the newest checkpoint, never an older one.
    One process writes; a state spread over several hosts is refused. Others may read the directory meanwhile:
    nothing in it is touched before the first `save`.

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
        self._orbax = ocp.AsyncCheckpointer(ocp.StandardCheckpointHandler())
        self._background = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._pending: Future[None] | None = None
        self._swept = False

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def save(self, step: int, state: Any, metrics: Mapping[str, float] | None = None) -> None:
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
        measured = {name: float(value) for name, value in (metrics or {}).items()}
        folder, temporary = self._directory / str(step), self._directory / f"tmp.{step}"
        with self._saving(step):
            if jax.process_count() > 1:
                raise NotImplementedError(f"{jax.process_count()} processes run, and only a single one can save")
            self._sweep()
            if folder.exists():
                with contextlib.suppress(_Damage):
                    manifest = _verify(folder)
                    update = self._directory / f"tmp.{step}.json"
                    _write_manifest(update, manifest | {"metrics": manifest["metrics"] | measured})
                    os.replace(update, folder / _MANIFEST)
                    return
            temporary.mkdir()
            self._orbax.save(temporary / _STATE, args=ocp.args.StandardSave(state))
        manifest = {"step": int(step), "metrics": measured, "tree": _leaves(state)}
        self._pending = self._background.submit(self._commit, step, manifest)

    def steps(self) -> list[int]:
        """The steps with a committed checkpoint, oldest first; whether they are whole is not looked at."""
        return [step for step in self._folders() if (self._directory / str(step) / _MANIFEST).exists()]

    def best(self, metric: str = METRICS[0]) -> int | None:
        """The step with the lowest finite metric, the earliest of equals; None where none was measured."""
        return next((step for error, step in self._ranking(metric) if math.isfinite(error)), None)

    def restore(
        self, target: Any, step: int | Literal["latest", "best"] = "latest", *, metric: str = METRICS[0]
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
        found = self._folders()
        if not found:
            return None
        if step == "latest":
            candidates = found[::-1]
        elif step == "best":
            candidates = [ranked for _, ranked in self._ranking(metric)]
        else:
            candidates = [step] if step in found else []
        if not candidates:
            missing = f"no checkpoint with a finite {metric}" if step == "best" else f"no checkpoint {step}"
            raise CheckpointError(f"{self._directory} holds {missing}: its steps are {', '.join(map(str, found))}")

        damages: list[str] = []
        for candidate in candidates:
            try:
                manifest = _verify(self._directory / str(candidate))
            except _Damage as damage:
                damages.append(f"checkpoint {candidate} in {self._directory} is damaged: {damage}")
            else:
                break
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

    def _folders(self) -> list[int]:
        """Every folder with a step's name, oldest first, with a manifest or without."""
        return sorted(int(path.name) for path in self._directory.glob("*") if re.fullmatch("0|[1-9][0-9]*", path.name))

    def _ranking(self, metric: str) -> list[tuple[float, int]]:
        """(error, step), best first. Where the manifest is unreadable the error is -inf: it might be the best."""
        ranking = []
        for step in self._folders():
            try:
                error = _read_manifest(self._directory / str(step))["metrics"].get(metric, math.nan)
            except _Damage:
                ranking.append((-math.inf, step))
            else:
                if math.isfinite(error):
                    ranking.append((error, step))
        return sorted(ranking)

    @contextlib.contextmanager
    def _saving(self, step: int) -> Iterator[None]:
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

    def _commit(self, step: int, manifest: dict[str, Any]) -> None:
        """In the background: waits for orbax, writes the manifest, publishes the folder and prunes."""
        temporary = self._directory / f"tmp.{step}"
        with self._saving(step):
            self._orbax.wait_until_finished()
            _write_manifest(temporary / _MANIFEST, manifest | {"files": _fingerprints(temporary)})
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

    def _read(self, folder: Path, target: Any) -> Any:
        """Has orbax read a verified state into the target's shardings."""
        anywhere = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        abstract = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=_sharding(leaf) or anywhere), target
        )
        state = self._orbax.restore(folder, args=ocp.args.StandardRestore(abstract))
        # An array committed to one device cannot meet others in one jitted call, an uncommitted one can.
        return jax.tree.map(
            lambda leaf, read: read if _sharding(leaf) else jnp.array(np.asarray(read)),  # no view: it may be donated
            target,
            state,
        )


def _sharding(leaf: Any) -> jax.sharding.Sharding | None:
    """The sharding somebody asked for, None where JAX was left to choose."""
    return getattr(leaf, "sharding", None) if getattr(leaf, "committed", True) else None


def _leaves(tree: Any) -> dict[str, str]:
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


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fingerprints(folder: Path) -> dict[str, dict[str, Any]]:
    """Size in bytes and SHA-256 of every file under a folder, by relative path."""
    return {
        path.relative_to(folder).as_posix(): {"size": path.stat().st_size, "sha256": _sha256(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _sealed(manifest: Mapping[str, Any]) -> str:
    """A manifest as the one text it can have: its JSON, closed by the SHA-256 of that JSON."""
    # JSON has no numbers for NaN and infinities: they go in as strings, which float() reads back.
    metrics = {name: value if math.isfinite(value) else str(value) for name, value in manifest["metrics"].items()}
    content = {**manifest, "metrics": metrics}
    seal = hashlib.sha256(json.dumps(content, allow_nan=False).encode()).hexdigest()
    return json.dumps({**content, "sha256": seal}, indent=1) + "\n"


def _write_manifest(path: Path, manifest: Mapping[str, Any]) -> None:
    path.write_text(_sealed(manifest), encoding="utf-8")


def _read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a checkpoint, as it was written.

    Raises:
        _Damage: it is missing, or a single character of it has changed.
    """
    try:
        text = (folder / _MANIFEST).read_bytes().decode()
        manifest = json.loads(text)
        del manifest["sha256"]
        manifest["metrics"] = {name: float(value) for name, value in manifest["metrics"].items()}
        whole = _sealed(manifest) == text
    except OSError as error:
        raise _unreadable(_MANIFEST, error) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        whole = False
    if not whole:
        raise _Damage(f"{_MANIFEST} is not what was written: its SHA-256 differs")
    return manifest


def _verify(folder: Path) -> dict[str, Any]:
    """The manifest of a checkpoint all of whose files are as they were written.

    Raises:
        _Damage: one is not; says which and how.
    """
    manifest = _read_manifest(folder)
    for name, written in manifest["files"].items():
        try:
            size = (folder / name).stat().st_size
            if size != written["size"]:
                raise _Damage(f"{name} has {size} bytes where {written['size']} were written")
            if _sha256(folder / name) != written["sha256"]:
                raise _Damage(f"{name} is not what was written: its SHA-256 differs")
        except OSError as error:
            raise _unreadable(name, error) from None
    return manifest


def _unreadable(name: str, error: OSError) -> _Damage:
    return _Damage(f"{name} is missing" if isinstance(error, FileNotFoundError) else f"{name} cannot be read: {error}")
