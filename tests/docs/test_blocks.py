"""The blocks of Python on the README and the pages in docs/ run, one page after another."""

import os
import subprocess
import sys

import pytest

from tests.docs.pages import PAGES, ROOT, python_blocks

RUN = """
import sys
blocks, namespace = eval(sys.stdin.read()), {"__name__": "page"}
for page, line, code in blocks:
    exec(compile("\\n" * (line - 1) + code, page, "exec"), namespace)
    print(f"block at line {line}", flush=True)
"""


def pages():
    """The pages with blocks that run, by their names."""
    return {
        str(page.relative_to(ROOT)): blocks
        for page in PAGES
        if (blocks := [block for block in python_blocks(page) if block.not_run is None])
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", pages())
def test_the_blocks_of_a_page_run(name, tmp_path):
    work = tmp_path / "work"
    (work / "tests").mkdir(parents=True)
    (work / "tests" / "photos").symlink_to(ROOT / "tests" / "photos")
    environment = {variable: value for variable, value in os.environ.items() if not variable.startswith("XLA")}
    environment |= {
        **{"PYTHONPATH": str(ROOT), "HOME": str(tmp_path), "JAXCNN_CACHE": str(tmp_path / "cache")},
        **{"JAX_PLATFORMS": "cpu", "MPLBACKEND": "agg"},
    }
    given = repr([(name, block.line, block.code) for block in pages()[name]])
    command = [sys.executable, "-c", RUN]
    ran = subprocess.run(command, input=given, capture_output=True, text=True, cwd=work, env=environment)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.count("block at line ") >= len(pages()[name])


def test_every_block_is_python():
    for page in PAGES:
        for block in python_blocks(page):
            compile(block.code, f"{page}:{block.line}", "exec")
    assert len(pages()) >= 3
