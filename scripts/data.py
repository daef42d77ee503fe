#!/usr/bin/env python3
"""Prepares, checks, packs and shows data sets.

data.py prepare imagenet2012 --archives DIR   ILSVRC 2012's two archives to a tfds data set (needs the extra tf)
data.py check NAME                            is a data set whole: counts, labels, unreadable images, copies
data.py pack NAME --short-side 256            a copy whose images are already small
data.py preview RECIPE --out page.html        what the network will see, after each augmentation

Exit codes: 0; 1, a data set is not whole; 2, something in the command cannot be, said in a sentence; 130, interrupted:
the same command starts again cleanly.
"""

import sys
from typing import Annotated

import tyro

from jaxcnn.data.check import check as check_data_set
from jaxcnn.errors import run_script

Name = tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="NAME")]]


def check(name: Name, *, splits: tuple[str, ...] = (), data_dir: str | None = None, workers: int = 8) -> int:
    """Reads every image of a data set once and says what is wrong with it; exit code 1 where it is not whole.

    Args:
        name: tfds:NAME, folder:PATH, digits or synthetic.
        splits: by default train and the one to evaluate on.
        data_dir: where tfds keeps its prepared data sets.
        workers: threads.
    """
    report = check_data_set(name, splits, data_dir, workers=workers)
    print(report)
    return 0 if report.whole else 1


def main(arguments: list[str]) -> int:
    """Returns the exit code."""
    commands = {"check": check}
    try:
        return tyro.extras.subcommand_cli_from_dict(commands, args=arguments)
    except KeyboardInterrupt:
        print("interrupted; the same command starts again cleanly", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(run_script(main))
