"""Builds the site, and says what is wrong with it."""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from docs.builder import check
from docs.builder.assemble import PageError, assemble
from docs.builder.reference import NoPageError

COLOR = re.compile(r"\x1b\[[0-9;]*m")


def build(site: Path) -> list[str]:
    """Builds the site, with warnings as errors, and checks its links.

    Args:
        site: the folder of the site, which is replaced where it is one.

    Returns:
        What is wrong, in sentences: where there is anything, the folder holds no site, or one with these faults.
    """
    site = site.resolve()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder).resolve()
        try:
            assemble(work)
        except (PageError, NoPageError) as error:
            return [str(error)]
        command = [sys.executable, "-m", "zensical", "build", "--strict"]
        ran = subprocess.run(command, cwd=work, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        printed = COLOR.sub("", ran.stdout)
        griffe = [line for line in printed.splitlines() if line.startswith("griffe: ")]
        if ran.returncode or griffe:
            return griffe or [printed[: printed.find("Traceback")]]
        shutil.rmtree(site, ignore_errors=True)
        shutil.copytree(work / "site", site)
    return list(check.faults(site))
