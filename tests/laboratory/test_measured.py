import jax
import jax.numpy as jnp

from jaxcnn.laboratory.hlo import parse
from jaxcnn.laboratory.measured import Event, medians, seconds_by_kernel, time_kernels

HOST, DEVICE = "/host:CPU", "/device:GPU:0"


def test_a_kernel_that_one_step_held_up_has_the_time_of_the_others():
    assert medians([{"a": 1.0, "b": 5.0}, {"a": 30.0}, {"a": 2.0}]) == {"a": 2.0, "b": 0.0}
    assert medians([]) == {}


def test_times_are_means_over_executions_and_devices():
    events = [Event(HOST, "a", 1.0), Event(HOST, "a", 3.0), Event(HOST, "b", 2.0)]
    assert seconds_by_kernel(events, 4) == {"a": 1.0, "b": 0.5}
    assert seconds_by_kernel([], 4) == {}


def test_where_a_device_says_its_times_those_of_the_host_do_not_count():
    events = [Event(HOST, "a", 100.0), Event(DEVICE, "a", 1.0), Event("/device:GPU:1", "a", 3.0)]
    assert seconds_by_kernel(events, 2) == {"a": 2.0}


def test_each_kernel_of_a_program_is_timed_here():
    x = jnp.ones((400, 400))
    compiled = jax.jit(lambda x: jnp.sum(jnp.sin(x @ x) @ x)).lower(x).compile()

    def step():
        compiled(x).block_until_ready()

    step()
    seconds = time_kernels(step, 1)
    names = {each.name for each in parse(compiled.as_text()).entry.instructions}
    assert seconds
    assert seconds.keys() <= names
    assert all(0 < each < 60 for each in seconds.values())
