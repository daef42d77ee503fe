"""Buffers that are live at the peak: of programs small enough to count by hand, and by XLA's own account."""

import jax
import jax.numpy as jnp
import pytest

from jaxcnn.laboratory.hlo import parse
from jaxcnn.laboratory.peak_memory import peak_memory

KB = 1024
PROGRAM = """HloModule jit_f, is_scheduled=true

%square (x: f32[256]) -> f32[256] {
  %x = f32[256]{0} parameter(0)
  ROOT %m = f32[256]{0} multiply(%x, %x)
}

%turn (x: f32[16,16]) -> f32[16,16] {
  %x = f32[16,16]{1,0} parameter(0)
  ROOT %t = f32[16,16]{1,0} transpose(%x), dimensions={1,0}
}

ENTRY %main (p: f32[256]) -> f32[256] {
  %p = f32[256]{0} parameter(0)
"""


def peak_of(lines):
    return peak_memory(parse(f"{PROGRAM}{lines}}}\n"))


def test_a_result_stays_until_it_is_taken_for_the_last_time():
    peak = peak_of(
        """  %a = f32[512]{0} custom-call(%p), custom_call_target="one"
  %b = f32[256]{0} custom-call(%a), custom_call_target="two"
  %c = f32[128]{0} custom-call(%a, %b), custom_call_target="three"
  ROOT %d = f32[256]{0} custom-call(%c), custom_call_target="four"
"""
    )
    assert (peak.at, peak.bytes) == ("c", 2 * KB + KB + KB // 2)
    a, b, c = peak.buffers
    assert (a.maker, a.bytes, a.last_user) == ("a", 2 * KB, "c")
    assert (b.maker, b.last_user, c.maker, c.last_user) == ("b", "c", "c", "d")


def test_arguments_and_results_are_no_temporaries():
    assert peak_of('  ROOT %d = f32[256]{0} custom-call(%p), custom_call_target="one"\n').bytes == 0


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        ("fusion(%a), kind=kLoop, calls=%square", KB),  # in the place of a
        ("fusion(%b), kind=kLoop, calls=%turn", 2 * KB),  # it needs all of b for each of its elements
        ("multiply(%a, %a)", KB),
        ('custom-call(%a), custom_call_target="f"', 2 * KB),
        ('custom-call(%a), custom_call_target="f", output_to_operand_aliasing={{}: (0, {})}', KB),
    ],
)
def test_a_result_may_take_the_place_of_what_it_is_made_of(second, expected):
    shape = "f32[16,16]{1,0}" if "turn" in second else "f32[256]{0}"
    peak = peak_of(
        f"""  %a = f32[256]{{0}} custom-call(%p), custom_call_target="one"
  %b = f32[16,16]{{1,0}} bitcast(%a)
  %c = {shape} {second}
  ROOT %d = f32[256]{{0}} custom-call(%c), custom_call_target="four"
"""
    )
    assert peak.bytes == expected


def test_names_for_parts_and_tuples_keep_what_they_name():
    peak = peak_of(
        """  %a = (f32[256]{0}, f32[512]{0}) custom-call(%p), custom_call_target="one"
  %first = f32[256]{0} get-tuple-element(%a), index=0
  %second = f32[512]{0} get-tuple-element(%a), index=1
  %pair = (f32[512]{0}, f32[256]{0}) tuple(%second, %first)
  %b = f32[1024]{0} custom-call(%first), custom_call_target="two"
  %again = f32[512]{0} get-tuple-element(%pair), index=0
  ROOT %d = f32[256]{0} custom-call(%again, %b), custom_call_target="four"
"""
    )
    # When b is made, both parts are live; the first of them only for b.
    assert (peak.at, peak.bytes) == ("b", 1 * KB + 2 * KB + 4 * KB)


def test_what_runs_beside_other_work_keeps_its_buffers_until_it_is_done():
    peak = peak_of(
        """  %a = f32[256]{0} custom-call(%p), custom_call_target="one"
  %s = f32[256]{0} all-reduce-start(%a), to_apply=%square
  %b = f32[512]{0} custom-call(%p), custom_call_target="two"
  %c = f32[512]{0} custom-call(%b), custom_call_target="three"
  %e = f32[256]{0} all-reduce-done(%s)
  ROOT %d = f32[256]{0} custom-call(%e, %c), custom_call_target="four"
"""
    )
    assert (peak.at, peak.bytes) == ("c", KB + 4 * KB)


def test_what_lies_on_the_chip_is_not_in_the_large_memory():
    peak = peak_of(
        """  %a = f32[2048]{0:T(1024)S(1)} custom-call(%p), custom_call_target="one"
  %s = (f32[2048]{0:T(1024)}, f32[2048]{0:T(1024)S(1)}, u32[]{:S(2)}) copy-start(%a)
  %b = f32[2048]{0:T(1024)} copy-done(%s)
  ROOT %d = f32[256]{0} custom-call(%b), custom_call_target="four"
"""
    )
    assert peak.bytes == 8 * KB
    assert [buffer.maker for buffer in peak.buffers] == ["s"]


def test_a_loop_needs_what_one_of_its_turns_needs():
    text = """HloModule jit_f, is_scheduled=true

%body (s: (s32[], f32[256])) -> (s32[], f32[256]) {
  %s = (s32[], f32[256]{0}) parameter(0)
  %i = s32[] get-tuple-element(%s), index=0
  %x = f32[256]{0} get-tuple-element(%s), index=1
  %wide = f32[1024]{0} custom-call(%x), custom_call_target="one"
  %y = f32[256]{0} custom-call(%wide), custom_call_target="two"
  ROOT %next = (s32[], f32[256]{0}) tuple(%i, %y)
}

%condition (s: (s32[], f32[256])) -> pred[] {
  %s = (s32[], f32[256]{0}) parameter(0)
  ROOT %more = pred[] constant(true)
}

ENTRY %main (p: f32[256]) -> f32[256] {
  %p = f32[256]{0} parameter(0)
  %zero = s32[] constant(0)
  %a = f32[256]{0} custom-call(%p), custom_call_target="three"
  %state = (s32[], f32[256]{0}) tuple(%zero, %a)
  %loop = (s32[], f32[256]{0}) while(%state), condition=%condition, body=%body
  %end = f32[256]{0} get-tuple-element(%loop), index=1
  ROOT %d = f32[256]{0} custom-call(%end), custom_call_target="four"
}
"""
    peak = peak_memory(parse(text))
    assert peak.bytes == 1 * KB + 4 * KB
    assert [buffer.maker for buffer in peak.buffers] == ["wide", "a"]


def test_the_peak_is_what_xla_plans_here():
    """The program takes gradients through a chain of layers and keeps their activations for the backward pass."""

    def loss(weights, x):
        for weight in weights:
            x = jnp.sin(jnp.cos(x) @ weight)
        return jnp.sum(x)

    weights = [jax.ShapeDtypeStruct((64, 64), jnp.float32)] * 5
    compiled = jax.jit(jax.grad(loss)).lower(weights, jax.ShapeDtypeStruct((256, 64), jnp.float32)).compile()
    planned = compiled.memory_analysis().temp_size_in_bytes
    assert planned > 5 * 256 * 64 * 4
    assert peak_memory(parse(compiled.as_text())).bytes == pytest.approx(planned, rel=0.03)
