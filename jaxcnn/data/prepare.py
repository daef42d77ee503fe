"""Preparing a tfds data set from ILSVRC 2012's two archives with tfds's own builder.

This is all that needs TensorFlow.
"""

import contextlib
import io
import logging
import os
import resource
import tarfile
import tempfile
import threading
from collections.abc import Generator
from pathlib import Path

from jaxcnn.data.check import Report, check
from jaxcnn.data.folders import check_room, data_root, in_bytes, sole_writer
from jaxcnn.errors import UserError

ARCHIVES = {"ILSVRC2012_img_train.tar": 147_897_477_120, "ILSVRC2012_img_val.tar": 6_744_924_160}
"""The archives' names, and their official sizes in bytes."""

_LOG = logging.getLogger(__name__)
_VERSION = "5.1.0"
_SPARE = 1 << 26
"""The bytes that must be free beyond what the data set is estimated to take."""
_OPEN_FILES = 4096
"""The number of files that may be open: tfds shuffles through a thousand at once, about what most systems allow."""


def prepare_imagenet2012(archives: Path, data_dir: str | None = None, *, allow_other_sizes: bool = False) -> Report:
    """Writes ``imagenet2012`` in ArrayRecord files, unless it is there already, and checks counts and classes.

    tfds gathers all images in the order of a hash of their names and then writes them. It needs as much room as the
    archives take, and no more, since it deletes what it gathered as it writes. If the process is killed, the next call
    removes what is left and starts from the beginning.

    Args:
        archives: the folder with `ARCHIVES`.
        data_dir: where tfds keeps its prepared data sets.
        allow_other_sizes: whether archives may have other sizes than the official ones, as those of a part of ILSVRC.

    Returns:
        The report of `check.check`, which has not read the images.

    Raises:
        UserError: an archive is missing, of another size or damaged, there is no room or no TensorFlow, or another
            process is preparing the data set.
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
            with progress_logged(folder, needed):
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
        UserError: one is missing, or of another size than the official one, unless that is allowed.
    """
    missing = [name for name in ARCHIVES if not (archives / name).is_file()]
    if missing:
        raise UserError(
            f"{archives} does not hold {' and '.join(missing)}: image-net.org gives ILSVRC 2012's archives to those "
            "who register there"
        )
    sizes = {name: (archives / name).stat().st_size for name in ARCHIVES}
    other = [
        f"{name} has {sizes[name]:,} bytes instead of {size:,}"
        for name, size in ARCHIVES.items()
        if sizes[name] != size
    ]
    if other and not allow_other_sizes:
        raise UserError(
            f"{' and '.join(other)}, so this is not the whole official archive: download it again, or pass "
            "--allow-other-sizes if another archive is meant"
        )
    return sizes


def _import_tensorflow() -> None:
    """Makes sure that TensorFlow is installed, and keeps it quiet and off the accelerators."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # oneDNN logs a line otherwise, and nothing is computed here
    try:
        import tensorflow
    except ImportError:
        raise UserError(
            "preparing imagenet2012 needs TensorFlow, which is not installed: install the extra tf"
        ) from None
    tensorflow.config.set_visible_devices([], "GPU")


def _build(archives: Path, root: Path) -> None:
    """Runs tfds's builder, and discards what it prints."""
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
            # ty: ignore[missing-argument]: tfds decorates the method in a way that loses its signature.
            builder.download_and_prepare(download_dir=downloads, download_config=config, file_format="array_record")
        except (tarfile.TarError, tensorflow.errors.OutOfRangeError) as error:
            raise UserError(f"an archive in {archives} is damaged ({error}): download it again") from error


@contextlib.contextmanager
def progress_logged(folder: Path, total: int, every_seconds: float = 30.0) -> Generator[None]:
    """Logs now and then how much tfds has gathered, and how much of that it has written.

    Args:
        folder: the folder of the data set's versions.
        total: about how many bytes there will be.
        every_seconds: seconds from one line to the next.
    """
    done = threading.Event()

    def watch() -> None:
        while not done.wait(every_seconds):
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
    """Returns the bytes of the files that match a pattern, without files that vanish while they are counted."""
    size = 0
    for path in folder.glob(pattern):
        with contextlib.suppress(OSError):
            size += path.stat().st_size
    return size
