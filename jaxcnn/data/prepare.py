"""From ILSVRC 2012's two archives to a tfds data set, by tfds's own builder: all that needs TensorFlow is here."""

import contextlib
import io
import logging
import os
import resource
import tarfile
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from jaxcnn.data.check import Report, check
from jaxcnn.data.folders import check_room, data_root, in_bytes, sole_writer
from jaxcnn.errors import UserError

ARCHIVES = {"ILSVRC2012_img_train.tar": 147_897_477_120, "ILSVRC2012_img_val.tar": 6_744_924_160}
"""The archives' names and official sizes in bytes."""

_LOG = logging.getLogger(__name__)
_VERSION = "5.1.0"
_SPARE = 1 << 26
_OPEN_FILES = 4096
"""tfds shuffles through a thousand files that are open at once, about what most systems allow."""
_SAY_EVERY_SECONDS = 30.0


def prepare_imagenet2012(archives: Path, data_dir: str | None = None, *, allow_other_sizes: bool = False) -> Report:
    """Writes ``imagenet2012`` in ArrayRecord files, unless it is there already, and checks counts and classes.

    tfds gathers all images in the order of a hash of their names and then writes them, so it needs the archives' size
    once more and no more than that: what is gathered is deleted as it is written. Where this is killed, the next call
    removes what it left and starts from the beginning.

    Args:
        archives: the folder with `ARCHIVES`.
        data_dir: where tfds keeps its prepared data sets.
        allow_other_sizes: whether archives may be of other sizes than the official: a part of ILSVRC, made archives.

    Returns:
        What `check.check` says without reading the images.

    Raises:
        UserError: an archive is not there, of another size or damaged, no room, no TensorFlow, or another process
            is preparing it.
    """
    found = check_archives(archives, allow_other_sizes)
    folder = data_root(data_dir) / "imagenet2012"
    with sole_writer(folder):
        if (folder / _VERSION).exists():
            _LOG.info("%s is there already", folder / _VERSION)
        else:
            needed = sum(found.values())
            check_room(folder, needed + needed // 50 + _SPARE, "imagenet2012")
            _import_tensorflow()
            with _told(folder, needed):
                _build(archives, folder.parent)
    return check(
        f"tfds:imagenet2012:{_VERSION}",
        ("train", "validation"),
        data_dir,
        thorough=False,
        official_counts=found == ARCHIVES,
    )


def check_archives(archives: Path, allow_other_sizes: bool) -> dict[str, int]:
    """Returns the sizes of the two archives in a folder, in bytes.

    Raises:
        UserError: one is not there, or of another size than the official, unless that is allowed.
    """
    missing = [name for name in ARCHIVES if not (archives / name).is_file()]
    if missing:
        raise UserError(
            f"{archives} does not hold {' and '.join(missing)}: image-net.org gives ILSVRC 2012's archives to those "
            "who register there"
        )
    sizes = {name: (archives / name).stat().st_size for name in ARCHIVES}
    other = [
        f"{name} has {sizes[name]:,} bytes and not {size:,}" for name, size in ARCHIVES.items() if sizes[name] != size
    ]
    if other and not allow_other_sizes:
        raise UserError(
            f"{' and '.join(other)}: a download that was cut short, or not the official archive; if it is meant to be "
            "another, say --allow-other-sizes"
        )
    return sizes


def _import_tensorflow() -> None:
    """Makes sure that there is TensorFlow, and keeps it quiet and off the accelerators."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # it announces itself otherwise; nothing here computes
    try:
        import tensorflow
    except ImportError:
        raise UserError(
            "preparing imagenet2012 needs TensorFlow, and nothing else here does: install the extra tf"
        ) from None
    tensorflow.config.set_visible_devices([], "GPU")


def _build(archives: Path, root: Path) -> None:
    """Runs tfds's builder, without what it prints."""
    import absl.logging
    import tensorflow
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    absl.logging.set_verbosity(absl.logging.ERROR)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    with tempfile.TemporaryDirectory() as downloads, contextlib.redirect_stdout(io.StringIO()):
        builder = tfds.builder(f"imagenet2012:{_VERSION}", data_dir=str(root))
        config = tfds.download.DownloadConfig(manual_dir=str(archives), try_download_gcs=False)
        try:
            builder.download_and_prepare(download_dir=downloads, download_config=config, file_format="array_record")
        except (tarfile.TarError, tensorflow.errors.OutOfRangeError) as error:
            raise UserError(f"an archive in {archives} is damaged ({error}): download it again") from error


@contextlib.contextmanager
def _told(folder: Path, total: int) -> Iterator[None]:
    """Logs now and then how much tfds has gathered, and how much of that it has written."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_SAY_EVERY_SECONDS):
            gathered, written = (
                _size(folder, f"incomplete.*/{files}") for files in ("bucket_*.tmp", "*.array_record-*")
            )
            _LOG.info("imagenet2012: %s gathered, %s written, of about %s", *map(in_bytes, (gathered, written, total)))

    watcher = threading.Thread(target=watch, daemon=True)
    _LOG.info("preparing imagenet2012 from %s of archives: tfds first gathers, then writes", in_bytes(total))
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _size(folder: Path, pattern: str) -> int:
    """Bytes of the files that match; those that vanish meanwhile count nothing."""
    size = 0
    for path in folder.glob(pattern):
        with contextlib.suppress(OSError):
            size += path.stat().st_size
    return size
