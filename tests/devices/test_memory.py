"""Freed memory that is kept for the next step."""

import subprocess
import sys

import pytest

import jaxcnn

STEPS = """
import resource, sys
import jaxcnn
kept = len(sys.argv) > 1 and jaxcnn.keep_freed_memory()
import jax, jax.numpy as jnp
step = jax.jit(lambda x: jnp.sin(x) + jnp.tanh(jnp.flip(x)).sum())
x = jnp.zeros((16, 1 << 20))
faults = []
for _ in range(24):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    x = jax.block_until_ready(step(x))
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(bool(kept), *faults)
"""


def faults(*arguments):
    """Returns whether memory is kept, and the pages that the system had to clear in each step."""
    command = [sys.executable, "-c", STEPS, *arguments]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return said[0] == "True", [int(number) for number in said[1:]]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="there is no glibc")
def test_a_step_gets_the_memory_of_the_one_before():
    kept, pages = faults("keep")
    if not kept:
        pytest.skip("there is no glibc")
    of_default, default = faults()
    assert not of_default
    # An array has 64 MB, which are 16,384 pages. The process grows for some steps, until there is a place for each.
    assert sum(default[12:]) > 12 * 16_000
    assert sum(pages[12:]) < sum(default[12:]) / 5


def test_elsewhere_than_on_linux_nothing_is_set(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert jaxcnn.keep_freed_memory() is False
