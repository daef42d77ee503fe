"""Freed memory that is kept for the next step."""

import ctypes
import subprocess
import sys
import types

import jax
import jax.numpy as jnp
import pytest

import jaxcnn
from jaxcnn.devices import memory

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


RESIDENT = """
import sys
import jaxcnn
jaxcnn.keep_freed_memory()
import jax, jax.numpy as jnp
from jaxcnn.resident import resident_bytes
from jax.lax import optimization_barrier as apart

def step(x):  # needs three more arrays like the one it changes
    a = apart(jnp.sin(x))
    b = apart(a * jnp.flip(a))
    return apart(jnp.cos(b)) + jnp.flip(b) + a

step = jax.jit(step, donate_argnums=0)
x = jax.block_until_ready(step(jnp.zeros((16, 1 << 20))))
for _ in range(24):
    x = jaxcnn.settled(step(x)) if sys.argv[1] == "settled" else step(x)
jax.block_until_ready(x)
print(resident_bytes("at most"))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="there is no glibc")
def test_a_process_that_settles_holds_the_buffers_of_one_step():
    def resident(name):
        command = [sys.executable, "-c", RESIDENT, name]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    of_one, of_several = resident("settled"), resident("started at once")
    if not jaxcnn.keep_freed_memory():
        pytest.skip("there is no glibc")
    assert of_several > of_one + 64 * 1_000_000  # one array at least; on two idle cores it is six


def test_a_step_is_waited_for_where_memory_is_kept(monkeypatch):
    slept = []
    monkeypatch.setattr(memory.time, "sleep", slept.append)
    results = {"x": jnp.ones(3)}
    monkeypatch.setattr(memory, "_kept", False)
    assert jaxcnn.settled(results) is results
    assert slept == []
    monkeypatch.setattr(memory, "_kept", True)
    step = jax.jit(lambda x: x @ x)
    results = {"x": step(jnp.ones((1500, 1500)))}
    assert jaxcnn.settled(results) is results
    assert results["x"].is_ready()
    assert len(slept) == 1


def test_what_compiling_left_is_left_behind_once(monkeypatch):
    called = []
    monkeypatch.setattr(memory, "_kept", True)
    monkeypatch.setattr(memory, "_compiled", 0.0)
    monkeypatch.setattr(memory, "leave_compiling_behind", lambda: called.append(memory._compiled))
    jaxcnn.settled(())
    memory._count_compiling("/jax/core/compile/backend_compile_duration", 0.75)
    memory._count_compiling("/jax/core/compile/jaxpr_trace_duration", 60.0)
    jaxcnn.settled(())
    assert called == []
    memory._count_compiling("/jax/core/compile/backend_compile_duration", 0.75)
    jaxcnn.settled(())
    assert called == [1.5]


GAPS = """
import ctypes
from jaxcnn.devices import memory
assert memory.keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
reserve, memory._RESERVE = memory._RESERVE, 0
memory._occupy_gaps()
sizes = [20 << 10] * 40 + [300 << 10] * 7 + [8 << 20] * 2
blocks = [(libc.malloc(size), libc.malloc(20 << 10)) for size in sizes]  # the second keep the gaps of the first apart
none = memory._occupy_gaps()
for block, _ in blocks:
    libc.free(block)
first, again = memory._occupy_gaps(), memory._occupy_gaps()
print(none, first, again, libc.malloc(8 << 20) in [block for block, _ in blocks])
memory._RESERVE = reserve
step, _ = libc.malloc(100 << 20), libc.malloc(30 << 20)  # for which there is no gap
libc.free(step)
memory._occupy_gaps()
libc.malloc(20 << 20)
print(libc.malloc(100 << 20) == step)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="there is no glibc")
def test_gaps_are_occupied_and_those_that_a_step_can_use_are_not():
    if not hasattr(ctypes.CDLL(None), "mallinfo2"):
        pytest.skip("there is no glibc, or one before 2.33")

    said = subprocess.run([sys.executable, "-c", GAPS], check=True, capture_output=True, text=True).stdout.split()
    none, first, again, found, kept = said
    assert (none, again, found) == ("0", "0", "True")
    assert kept == "True"  # what is smaller was not cut from the place of a step
    assert 40 + 7 <= int(first) <= 40 + 7 * 5  # a gap is occupied by pieces that halve in size


@pytest.mark.parametrize(("size", "kept"), [(memory.LARGE_BATCH, []), (memory.LARGE_BATCH + 1, [True])])
def test_only_large_batches_are_worth_keeping_for(monkeypatch, size, kept):
    called = []
    monkeypatch.setattr(memory, "keep_freed_memory", lambda: called.append(True))
    memory.keep_for_batches_of(size)
    assert called == kept


@pytest.mark.parametrize(
    ("platforms", "found", "expected"),
    [
        ("cpu", [], True),
        ("cuda,cpu", [], False),
        (None, [], True),
        (None, ["libtpu"], False),
        ("cpu", ["libtpu"], True),
    ],
)
def test_whether_there_are_cpus_alone_is_known_without_a_look_at_the_devices(monkeypatch, platforms, found, expected):
    configured = types.SimpleNamespace(config=types.SimpleNamespace(jax_platforms=platforms))
    monkeypatch.setitem(sys.modules, "jax", configured)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name if name in found else None)
    assert memory.only_cpus() is expected


KEPT = """
import sys
from jaxcnn.recipes import load_config
import dataclasses
import jaxcnn.devices.memory as memory
import jaxcnn.assembly as assembly
import jax
config = load_config("lenet_digits")
config = dataclasses.replace(config, data=dataclasses.replace(config.data, batch_size=int(sys.argv[1])))
opened = assembly.open_data
def open_data(config):
    found = opened(config)
    print(memory._kept, jax._src.xla_bridge.backends_are_initialized())
    return found
assembly.open_data = open_data
over = assembly.DataParallel.over_all_devices
def devices():
    print(memory._kept, jax._src.xla_bridge.backends_are_initialized())
    return over()
assembly.DataParallel.over_all_devices = devices
assembly.assemble(config)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="there is no glibc")
def test_training_keeps_memory_before_jax_starts_its_threads():
    command = [sys.executable, "-c", KEPT, "1024"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    # After the data set was opened, and before JAX was asked for its devices.
    assert said == ["False", "False", "True", "False"]


@pytest.fixture
def clock(monkeypatch):
    """A clock that only sleeping moves: the seconds that it shows, and what was slept."""
    clock, waited = [100.0], []

    def sleep(seconds):
        waited.append(seconds)
        clock[0] += seconds

    monkeypatch.setattr(memory, "time", types.SimpleNamespace(monotonic=lambda: clock[0], sleep=sleep))
    for name, value in (("_kept", True), ("_settled_at", None), ("_compiled", 0.0), ("_in_use", None)):
        monkeypatch.setattr(memory, name, value)
    return clock, waited


def test_a_long_step_is_waited_for_a_little_longer(monkeypatch, clock):
    clock, waited = clock
    monkeypatch.setattr(memory, "_kept", False)
    state = jnp.zeros(2)
    assert memory.settled(state) is state
    assert not waited  # nothing is kept
    monkeypatch.setattr(memory, "_kept", True)
    for seconds in (9.0, 0.1, 2.0, 60.0):
        clock[0] += seconds
        assert memory.settled(state) is state
    # Nobody knows how long the first one took.
    assert waited == pytest.approx([3e-3, 3e-3, 10e-3, 25e-3])


def test_buffers_that_are_freed_late_are_waited_for(monkeypatch, clock):
    clock, waited = clock
    gigabytes = []
    monkeypatch.setattr(memory, "_mallinfo2", lambda: types.SimpleNamespace(uordblks=int(1e9 * gigabytes.pop(0))))

    def step(seconds, *in_use):
        gigabytes[:] = in_use
        waited.clear()
        clock[0] += seconds
        memory.settled(jnp.zeros(2))
        return gigabytes

    step(0.1)
    assert step(10, 1) == []  # what is in use between two steps
    assert step(10, 3, 3, 1.05) == []
    assert waited == pytest.approx([25e-3, 3e-3, 3e-3])
    assert step(0.4, 3) == [3]  # a short step is not worth a look
    assert step(10, *[3] * 300)  # it stays so
    assert sum(waited) == pytest.approx(25e-3 + 0.05 * 10, abs=4e-3)
    assert step(10, 3) == []
    assert waited == pytest.approx([25e-3])


@pytest.mark.skipif(sys.platform != "linux", reason="there is no glibc")
def test_gaps_that_were_just_occupied_are_not_waited_for(monkeypatch, clock):
    monkeypatch.setattr(memory, "_in_use", 1)
    monkeypatch.setattr(memory, "_occupy_gaps", lambda: None)
    memory.leave_compiling_behind()
    clock, waited = clock
    clock[0] += 10
    memory._settled_at = 100.0
    memory.settled(jnp.zeros(2))
    assert waited == pytest.approx([25e-3])


@pytest.mark.skipif(sys.platform != "linux", reason="there is no glibc")
def test_a_block_in_use_is_seen():
    if not hasattr(ctypes.CDLL(None), "mallinfo2"):
        pytest.skip("this glibc says nothing of its heap")
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    before = memory._mallinfo2().uordblks
    blocks = [libc.malloc(1 << 16) for _ in range(1024)]  # each is too small to be a mapping of its own
    assert memory._mallinfo2().uordblks - before > 60 << 20
    for block in blocks:
        libc.free(block)
    assert memory._mallinfo2().uordblks - before < 4 << 20
