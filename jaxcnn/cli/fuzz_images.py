"""Tries damaged JPEG and PNG files on the decoder, in processes that may crash or hang.

    jaxcnn fuzz-images [--files 100000] [--seed 0]
    jaxcnn fuzz-images --seed 0 --first NUMBER --files 1 --keep FOLDER      one file again, and on disk

The exit code is 1 where a file crashes the decoder, takes too long or too much memory, or raises another error than it
should.
"""

import dataclasses
import os
from pathlib import Path

import tyro

from jaxcnn.trials.fuzzing import Limits, fuzz, keep_failures


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Try damaged JPEG and PNG files on the decoder."""

    files: int = 100_000
    """The number of files."""
    seed: int = 0
    """The seed of the series; a file is a function of the seed and its number."""
    first: int = 0
    """The number of the first file."""
    processes: int = os.cpu_count() or 1
    """The number of processes that decode at a time."""
    keep: Path | None = None
    """A folder to write the files to that failed."""
    limits: Limits = dataclasses.field(default_factory=Limits)


def main(arguments: list[str]) -> int:
    """Returns the exit code."""
    chosen = tyro.cli(Arguments, prog="jaxcnn fuzz-images", args=arguments)
    report = fuzz(chosen.seed, chosen.first, chosen.files, chosen.limits, processes=chosen.processes)
    print(f"{report.files} files of seed {chosen.seed}: {report.decoded} decoded, {report.refused.total()} refused")
    for reason, count in report.refused.most_common():
        print(f"{count:8}  {reason}")
    print(f"slowest: {report.slowest[0]:.2f} s of processor time, number {report.slowest[1]}")
    print(f"most memory: {report.largest[0] >> 20} MB, number {report.largest[1]}")
    print(f"{len(report.failures)} failed")
    for number, what in sorted(report.failures.items()):
        print(f"  number {number} {what}")
    if chosen.keep:
        keep_failures(report, chosen.seed, chosen.keep)
    return 1 if report.failures else 0
