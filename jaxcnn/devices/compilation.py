"""Compiled programs that are kept from one start of a program to the next: JAX's persistent compilation cache."""

import contextlib
import dataclasses
import hashlib
import logging
import os
import platform
import time
import zlib
from collections.abc import Generator, Mapping
from pathlib import Path

import jax
from jax.experimental.compilation_cache import compilation_cache

from jaxcnn.devices.memory import COMPILED
from jaxcnn.errors import writing
from jaxcnn.paths import cache_folder

_LOG = logging.getLogger(__name__)
LARGEST = 4 << 30
"""The size in bytes above which a folder of kept programs loses those that were not used for longest."""
_CHECKED = ".checked"
"""The file whose time is that of the last look for damaged programs."""
_SETTINGS = {"jax_persistent_cache_min_compile_time_secs": 0.0, "jax_persistent_cache_min_entry_size_bytes": 0}
"""JAX's settings that choose what is kept: everything, because a start compiles a hundred small programs too."""
_SAVED = "/jax/compilation_cache/compile_time_saved_sec"
_FOUND = "/jax/compilation_cache/cache_hits"


@dataclasses.dataclass
class Compilations:
    """What was compiled since the beginning of the block of `kept_programs`."""

    folder: str | None
    """The folder in which programs are kept; None where none are."""
    programs: int = 0
    """The number of programs, those that were found in the folder included."""
    found: int = 0
    """The number of programs that were found in the folder."""
    seconds: float = 0.0
    """The time that the compiler took, with that of reading the programs that were found."""
    saved: float = 0.0
    """The time that compiling the programs that were found had taken, less that of reading them, in seconds; at least,
    because JAX keeps the time of each in whole seconds."""

    def __str__(self) -> str:
        taken = f"compiled {self.programs:,} programs in {self.seconds:,.1f} s"
        if self.folder is None:
            return f"{taken}, which are not kept"
        saved = f", which saved {self.saved:,.0f} s at least" if self.saved >= 1 else ""
        return f"{taken}; {self.found:,} of them had been kept in {self.folder}{saved}"


def processor() -> str:
    """Returns a word for the instructions of this machine's processor: what is compiled for it may need all of them."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        features = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    except OSError:
        features = platform.processor()
    return hashlib.sha256(features.encode()).hexdigest()[:16]


def default_folder() -> Path:
    """Returns the folder in which programs are kept where nothing names another: ``compiled`` in `cache_folder`."""
    return cache_folder() / "compiled" / processor()


@contextlib.contextmanager
def kept_programs(folder: Path | None = None) -> Generator[Compilations]:
    """Keeps what is compiled in the ``with`` block, and finds what was kept before.

    Where the process keeps its programs already, as with ``JAX_COMPILATION_CACHE_DIR``, that folder and all settings
    stay as they are unless a folder is given. ``JAX_ENABLE_COMPILATION_CACHE=false`` keeps nothing. Several processes
    may use one folder at the same time. What is read from there is machine code, which is run: nobody else should be
    able to write to it.

    Args:
        folder: the folder; by default the one that the process has, or else `default_folder`.

    Yields:
        What was compiled so far.

    Raises:
        UserError: the folder that is given cannot be written.
    """
    own = jax.config.values["jax_compilation_cache_dir"]
    if not jax.config.values["jax_enable_compilation_cache"]:
        chosen = None
    elif folder is None and own:
        chosen = own
    else:
        chosen = _made(folder or default_folder(), given=folder is not None)
    with contextlib.ExitStack() as stack:
        if chosen not in (None, own):
            stack.enter_context(_settings(chosen))
        yield stack.enter_context(_counted(Compilations(chosen)))


@contextlib.contextmanager
def nothing_kept() -> Generator[None]:
    """Compiles everything anew in the ``with`` block, and keeps nothing of it.

    That is for programs that are measured or written to a file, and for those of devices that are not there, which JAX
    would keep and could not read.
    """
    with _settings(None):
        yield


def _made(folder: Path, *, given: bool) -> str | None:
    """Returns a folder that is there and in order; None where it cannot be written and was not asked for."""
    folder = folder.absolute()
    try:
        with writing(folder, "name another folder with --compilation-cache"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _remove_damaged(folder)
            _remove_oldest(folder, LARGEST)
    except Exception as error:
        if given:
            raise
        _LOG.info("nothing that is compiled is kept: %s", error)
        return None
    return str(folder)


def _programs(folder: Path) -> dict[Path, os.stat_result]:
    """Returns the files of the kept programs."""
    found = {}
    for path in folder.glob("*-cache"):
        with contextlib.suppress(FileNotFoundError):  # another process has just removed it
            found[path] = path.stat()
    return found


def _remove_damaged(folder: Path) -> None:
    """Removes the programs that a kill has cut short, among those that were kept since the last look.

    JAX would try to read such a file at every start, and never write it anew.
    """
    mark, now = folder / _CHECKED, time.time()
    since = mark.stat().st_mtime if mark.exists() else 0.0
    for path, found in _programs(folder).items():
        if found.st_mtime >= since and not _is_whole(path):
            path.unlink(missing_ok=True)
    mark.touch()
    os.utime(mark, (now, now))


def _is_whole(path: Path) -> bool:
    """Returns whether a program was written to its end; True where it is compressed in a way that JAX does not read."""
    try:
        content = path.read_bytes()
        if content[:1] == b"\x78":
            stream = zlib.decompressobj()
            stream.decompress(content)
            return stream.eof
        return bool(content)
    except (OSError, zlib.error):
        return False


def _remove_oldest(folder: Path, largest: int) -> None:
    """Removes the programs that were not used for longest until the others are no larger than this together."""
    programs = _programs(folder)
    size = sum(found.st_size for found in programs.values())
    for path, found in sorted(programs.items(), key=lambda item: max(item[1].st_atime, item[1].st_mtime)):
        if size <= largest:
            break
        path.unlink(missing_ok=True)
        size -= found.st_size


@contextlib.contextmanager
def _settings(folder: str | None) -> Generator[None]:
    """Sets JAX's settings for this folder, and sets them back."""
    settings: dict[str, str | float | None] = {"jax_compilation_cache_dir": folder, **_SETTINGS}
    before = {name: jax.config.values[name] for name in settings}

    def use(values: Mapping[str, str | float | None]) -> None:
        for name, value in values.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()  # JAX looks at the settings once

    use(settings)
    try:
        yield
    finally:
        use(before)


@contextlib.contextmanager
def _counted(compilations: Compilations) -> Generator[Compilations]:
    def on_duration(event: str, duration_secs: float, **_: str | int) -> None:
        if event == COMPILED:
            compilations.programs += 1
            compilations.seconds += duration_secs
        elif event == _SAVED:
            compilations.saved += max(0.0, duration_secs)

    def on_event(event: str, **_: str | int) -> None:
        compilations.found += event == _FOUND

    jax.monitoring.register_event_duration_secs_listener(on_duration)
    jax.monitoring.register_event_listener(on_event)
    try:
        yield compilations
    finally:
        jax.monitoring.unregister_event_duration_listener(on_duration)
        jax.monitoring.unregister_event_listener(on_event)
