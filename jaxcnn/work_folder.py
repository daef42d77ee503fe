"""A folder of resumable work: one program at a time is in it, and what it keeps of the work's options and images.

A run folder is one, and so is every other folder in which a command goes on with what it began. Where several processes
work together, all of them make the same calls; process 0 alone looks at the folder and writes there, and what it
refuses, all of them raise.
"""

import contextlib
import errno
import json
import os
from collections.abc import Callable, Mapping, Set
from pathlib import Path
from typing import Generic, Self, TypeVar

from jaxcnn import strict_json
from jaxcnn.config import ConfigError, differences, flatten, to_json
from jaxcnn.config.stored import group_from_json
from jaxcnn.data.fingerprint import Fingerprint, difference
from jaxcnn.devices.processes import gather, is_writer
from jaxcnn.errors import MachineError, UserError, writing
from jaxcnn.ops.lowering_rules import followed, following, read_rules, rules_text
from jaxcnn.ops.rules import Rules, earlier
from jaxcnn.paths import replace_whole
from jaxcnn.processor import this_processor
from jaxcnn.recipes import CONFIG_FILE
from jaxcnn.training.lock import FolderLock
from jaxcnn.types import Json

DATA_FILE = "data.json"
"""The file of such a folder that holds the fingerprints of the splits that the work is done on."""
LOWERINGS_FILE = "lowerings.json"
"""The file of such a folder that holds the rules by which the lowering ``auto`` chooses since the work began."""
PLACE = frozenset({"data.name", "data.data_dir"})
"""The options that say where the data set lies: they may change where its files are the same."""
OTHER_FOLDER = "choose another --workdir"
"""The clause that leads out where a folder cannot be used."""

Group = TypeVar("Group")
Fingerprints = Mapping[str, Fingerprint]
"""The fingerprints of splits, by what they are for."""


class WorkFolder(Generic[Group]):
    """A folder of resumable work, which no other program can enter while this one is in it.

    The work is told apart by a group of options and by its images. The folder keeps both from `begin` on, and refuses
    to go on with others. What is traced inside follows the rules of lowering that the work began with, on whatever
    machine and however that is tuned meanwhile, because other lowerings end in other bits::

        with WorkFolder(path, FeaturesConfig, "extraction", free={"data.workers", "data.processes"}) as folder:
            folder.claim(config, fingerprints, images_of=config.data.name)
            folder.begin()
            ...

    Args:
        path: the folder, which is made when the work begins.
        kind: the class of the options.
        work: what the work is called in messages, such as ``run``.
        free: the paths of the options that may have another value than before, because they change no bit.
    """

    def __init__(self, path: Path, kind: type[Group], work: str, free: Set[str] = frozenset()) -> None:
        self.path = path
        self.writable = True
        """Whether the folder can be written, which the result of finished work does not need."""
        self._kind = kind
        self._work = work
        self._free = free
        self._lock = FolderLock(path)
        self._made = False
        self._judged: Json = None
        self._to_write: dict[Path, str] = {}

    def __enter__(self) -> Self:
        """Refuses a path that can be no such folder, and a folder that another program is in.

        Raises:
            UserError: it is such a path or folder, or the rules of lowering in it cannot be read.
            MachineError: the disk is full, or fails.
        """
        self.writable = by_writer(self._enter)
        try:
            # Process 0's rules are those of all processes, whose programs have to be the same.
            rules = Rules.from_json(by_writer(self._rules))
        except UserError:
            self._lock.release()
            raise
        self._following = following(rules)
        self._following.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._following.__exit__(None, None, None)
        self._lock.release()
        if self._made:
            with contextlib.suppress(OSError):  # it is not empty, where the work has begun
                self.path.rmdir()

    def _enter(self) -> bool:
        with writing(self.path, OTHER_FOLDER):
            if self.path.is_symlink() and not self.path.exists():
                raise UserError(
                    f"{self.path} is a link to {os.readlink(self.path)}, which does not exist: make that folder, or "
                    f"{OTHER_FOLDER}"
                )
            if self.path.exists() and not self.path.is_dir():
                raise UserError(f"{self.path} is a file and not a folder: {OTHER_FOLDER}")
            if not self.path.exists():
                return True
            try:
                self._lock.acquire()
            except OSError as error:
                if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                    raise
                if not (self.path / CONFIG_FILE).is_file():
                    raise
                return False
            return True

    def _rules(self) -> Json:
        kept = kept_rules(self.path)
        if kept is None:
            kept = followed()
            self._to_write[self.path / LOWERINGS_FILE] = rules_text({"processor": str(this_processor())}, kept)
        return kept.to_json()

    def claim(self, config: Group, fingerprints: Fingerprints, *, images_of: str) -> None:
        """Makes sure that the work in the folder, if there is any, is the one that is asked for; writes nothing.

        Args:
            config: the options that are asked for, with everything resolved.
            fingerprints: the fingerprints of the splits that the work is done on, by what they are for. Some may be
                new, and some that the folder keeps may be missing.
            images_of: the name of the data set, for messages.

        Raises:
            UserError: the options or the images are others than those that the work began with; or another program has
                made the folder meanwhile.
            MachineError: the disk is full, or fails.
        """
        self._judged = by_writer(lambda: self._claim(config, fingerprints, images_of))

    def _claim(self, config: Group, fingerprints: Fingerprints, images_of: str) -> Json:
        with writing(self.path, OTHER_FOLDER):
            if not self.path.exists():
                self.path.mkdir(parents=True, exist_ok=True)
                self._made = True
            if self.writable:
                self._lock.acquire()
        images, config_file = self.path / DATA_FILE, self.path / CONFIG_FILE
        stored, before, judged = None, None, None
        if config_file.is_file():
            stored = read_kept(config_file, lambda text: group_from_json(self._kind, text))
            before = read_kept(images, _parse_fingerprints) if images.is_file() else None
            self._refuse_others(before, fingerprints, images_of)
            judged = self._judge(stored, config, before)
        # The config comes last: a folder without it holds no work.
        known = {**fingerprints, **(before or {})}
        if known != before:
            prints = {use: found.to_json() for use, found in known.items()}
            self._to_write[images] = strict_json.dumps(prints, indent=1) + "\n"
        if stored != config:
            self._to_write[config_file] = to_json(config)
        return judged

    def _refuse_others(self, before: Fingerprints | None, now: Fingerprints, images_of: str) -> None:
        """Refuses other images than those that the folder keeps fingerprints of."""
        for use, known in (before or {}).items():
            if use in now and (clause := difference(known, now[use])):
                raise UserError(
                    f"the images of {images_of} for {use} are not those that the {self._work} in {self.path} began "
                    f"with: {clause}; put them back, or {OTHER_FOLDER}"
                )

    def _judge(self, stored: Group, config: Group, before: Fingerprints | None) -> Json:
        """Refuses other options than those that the folder keeps.

        Args:
            stored: the options that the folder keeps.
            config: those that are asked for.
            before: the fingerprints that the folder keeps; None where it keeps none, as a run of an early version.

        Returns:
            Something that all processes are to know.

        Raises:
            UserError: an option is another that must not be.
        """
        free = self._free | (PLACE if may_move(before, stored, config) else frozenset())
        refused = [(option, values) for option, values in differences(stored, config).items() if option not in free]
        if refused:
            (option, (old, new)), others = refused[0], f" (and {len(refused) - 1} more)" if refused[1:] else ""
            article = "an" if self._work[0] in "aeiou" else "a"
            raise ConfigError(
                f"{self.path} holds {article} {self._work} of another config, in which {option} is {old!r} and not "
                f"{new!r}{others}: {OTHER_FOLDER}, or delete the folder"
            )
        return None

    def begin(self) -> None:
        """Writes down what the work begins or goes on with.

        Raises:
            UserError: the folder cannot be written.
            MachineError: the disk is full, or fails.
        """
        if self.writable:
            by_writer(self._write_down)

    def _write_down(self) -> None:
        with writing(self.path, OTHER_FOLDER):
            for file, text in self._to_write.items():
                replace_whole(file, text)


def may_move(before: Fingerprints | None, stored: object, config: object) -> bool:
    """Returns whether a data set may lie elsewhere than before: its files are listed, so that any change is noticed.

    Args:
        before: the fingerprints that the folder keeps.
        stored: the options that the folder keeps.
        config: the options that are asked for.
    """
    kinds = {str(flatten(each).get("data.name")).partition(":")[0] for each in (stored, config)}
    return before is not None and all(each.parts for each in before.values()) and len(kinds) == 1


def by_writer(action: Callable[[], Json]) -> Json:
    """Carries out an action in process 0, and returns its result, or raises its error, in all processes."""
    outcome, raised = {}, None
    if is_writer():
        try:
            outcome = {"result": action()}
        except (UserError, MachineError) as error:
            raised = error
            outcome = {"error": str(error), "of_the_machine": isinstance(error, MachineError)}
    outcome = gather(outcome)[0]
    if raised is not None:
        raise raised
    if "error" in outcome:
        raise (MachineError if outcome["of_the_machine"] else UserError)(outcome["error"])
    return outcome["result"]


def read_kept(file: Path, parse: Callable[[str], Json]) -> Json:
    """Returns what a file of such a folder holds.

    Args:
        file: the file.
        parse: from the file's text to what it holds; raises ValueError, KeyError or TypeError for any other text.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        return parse(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        said = error if isinstance(error, UserError) else "it is not what was written there"
        raise ConfigError(f"{file} cannot be read: {said}; restore it, or {OTHER_FOLDER}") from error


def kept_rules(folder: Path) -> Rules | None:
    """Returns the rules of lowering that the work in a folder began with; None where no work has begun there.

    Raises:
        ConfigError: they cannot be read.
    """
    if (folder / LOWERINGS_FILE).is_file():
        return read_kept(folder / LOWERINGS_FILE, read_rules)[1]
    return earlier() if (folder / CONFIG_FILE).is_file() else None


def kept_fingerprints(folder: Path) -> dict[str, Fingerprint]:
    """Returns the fingerprints that such a folder keeps.

    Raises:
        ConfigError: it keeps none that can be read.
    """
    return read_kept(folder / DATA_FILE, _parse_fingerprints)


def _parse_fingerprints(text: str) -> dict[str, Fingerprint]:
    return {use: Fingerprint.from_json(each) for use, each in json.loads(text).items()}
