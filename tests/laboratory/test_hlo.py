"""The reader of XLA's texts, on pieces of them; whole programs are in test_program.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax import lax

from jaxcnn.laboratory.collectives import collective_of
from jaxcnn.laboratory.hlo import parse
from jaxcnn.laboratory.hlo_traffic import traffic_of
from jaxcnn.laboratory.hlo_work import Window, positions, work_of
from jaxcnn.laboratory.program import Program

HEADER = "HloModule jit_f, is_scheduled=true, num_partitions=8\n\n"
ADD = "%add (a: f32[], b: f32[]) -> f32[] {\n  %a = f32[] parameter(0)\n  %b = f32[] parameter(1)\n"
ADD += "  ROOT %c = f32[] add(%a, %b)\n}\n\n"


def entry(*lines, before=""):
    """A program whose entry computation has these instructions."""
    return HEADER + before + "ENTRY %main (x: f32[]) -> f32[] {\n" + "\n".join(f"  {line}" for line in lines) + "\n}\n"


def test_an_instruction_is_read_with_all_that_it_says():
    module = parse(
        entry(
            r"""%p.1 = f32[2,3]{1,0} parameter(0), metadata={op_name="x[\'a\']"}""",
            "%copy.2 = (bf16[4,56,100]{2,0,1:T(8,128)(2,1)S(1)}, u32[]{:S(2)}) copy-start(%p.1), /*a=1*/ "
            """metadata={op_name="jit(f)/net/conv1/add" source_line=3}, backend_config={"n":"a, } \\" b","m":[1,2]}""",
            "ROOT %r = s8[] convert(%p.1), sharding={replicated}",
        ).replace(", /*a=1*/ ", ", ")
    )
    p, copy, root = module.entry.instructions
    assert module.devices == 8
    assert (p.opcode, p.argument, p.op_name, p.array.bytes, p.array.dtype_name) == (
        "parameter",
        "0",
        "x['a']",
        24,
        "float32",
    )
    assert (copy.operands, copy.op_name) == (("p.1",), "jit(f)/net/conv1/add")
    assert copy.attributes["backend_config"].endswith('"m":[1,2]}')
    tiled, context = copy.arrays
    assert (tiled.dims, tiled.minor_to_major, tiled.tiles, tiled.space) == (
        (4, 56, 100),
        (2, 0, 1),
        ((8, 128), (2, 1)),
        1,
    )
    assert tiled.bytes == 56 * 8 * 128 * 2  # the innermost axes are padded to whole tiles
    assert (context.space, context.bytes) == (2, 4)
    assert root.is_root
    assert module.entry.root is root
    assert [user.name for user in module.entry.users["p.1"]] == ["copy.2", "r"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("module @jit_f {}", "does not begin with HloModule"),
        (HEADER, "has no ENTRY computation"),
        (entry("nonsense"), "the line is no instruction: nonsense"),
        (entry("%a = f32[] 3"), "the line has no operation"),
        (entry("%a = f32[] add(%b, {"), "a bracket is not closed"),
    ],
)
def test_what_is_no_program_is_refused(text, sentence):
    with pytest.raises(ValueError, match=sentence):
        Program.parse(text, "gpu")


@given(
    length=st.integers(1, 9),
    size=st.integers(1, 4),
    stride=st.integers(1, 3),
    low=st.integers(-1, 3),
    dilation=st.integers(1, 3),
    kernel_dilation=st.integers(1, 2),
    outputs=st.integers(1, 9),
)
def test_pairs_of_outputs_and_taps(length, size, stride, low, dilation, kernel_dilation, outputs):
    """Against an image of ones that is dilated and padded: holes are 0, padding is 2."""
    row = np.zeros(dilation * (length - 1) + 1)
    row[::dilation] = 1
    reach = 40
    holes = np.arange(-reach, reach) % dilation != 0
    wide = np.where(holes, 0, 2)
    wide[reach : reach + len(row)] = row
    found = [
        wide[reach + output * stride + tap * kernel_dilation - low] for output in range(outputs) for tap in range(size)
    ]
    window = Window((size,), (stride,), (low,), (dilation,), (kernel_dilation,), (0,))
    assert positions(window, 0, length, outputs) == (found.count(1), found.count(1) + found.count(2))


@pytest.mark.parametrize(
    "options",
    [
        {"window_strides": (1, 1), "padding": "SAME"},
        {"window_strides": (2, 2), "padding": ((1, 1), (0, 2))},
        {"window_strides": (1, 1), "padding": ((2, 1), (1, 2)), "lhs_dilation": (2, 3)},
        {"window_strides": (1, 2), "padding": "VALID", "rhs_dilation": (2, 1)},
        {"window_strides": (1, 1), "padding": "SAME", "feature_group_count": 2},
        {"window_strides": (1, 1), "padding": "SAME", "batch_group_count": 2},
    ],
    ids=["same", "strides", "image dilation", "kernel dilation", "groups", "batch groups"],
)
def test_convolutions_are_counted_as_the_compiler_counts_them(options):
    groups, parts = options.get("feature_group_count", 1), options.get("batch_group_count", 1)
    shapes = [
        jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((2 * parts, 9, 8, 4 * groups), (3, 3, 4, 4 * groups))
    ]
    numbers = ("NHWC", "HWIO", "NHWC")
    compiled = jax.jit(lambda x, k: lax.conv_general_dilated(x, k, dimension_numbers=numbers, **options))
    compiled = compiled.lower(*shapes).compile()
    program = Program.of(compiled)
    assert program.flops == compiled.cost_analysis()["flops"]
    assert 2 * program.multiply_adds >= sum(each.flops for each in program.kernels if each.kind == "convolution") > 0


def test_an_image_that_is_taken_for_the_kernel_is_not_multiplied_with_the_padding():
    """As a TPU's compiler writes the gradient of a convolution over 8 images of 56x56 pixels, 64 channels to 32."""
    for size, padding, inside in ((1, 55, 56), (3, 54, 54 * 3 + 2 * 2)):
        program = Program.parse(
            entry(
                f"%k = bf16[{size},{size},64,32]{{3,2,1,0}} parameter(0)",
                "%x = bf16[8,56,56,32]{0,3,2,1} parameter(1)",
                "ROOT %c = bf16[8,56,56,64]{0,3,2,1} convolution(%k, %x), window={size=56x56 "
                f"pad={padding}_{padding}x{padding}_{padding} rhs_reversal=1x1}}, dim_labels=01bf_o01i->f01b",
            ),
            "tpu",
        )
        assert program.multiply_adds == 8 * 64 * 32 * (56 * size) ** 2
        assert program.flops == 2 * 8 * 64 * 32 * inside**2


REDUCTIONS = {
    "all": (lambda x: jnp.sum(x), 9 * 16 - 1),
    "axis": (lambda x: jnp.max(x, axis=1), 9 * 15),
    "windows": (lambda x: lax.reduce_window(x, 0.0, lax.add, (2, 2), (1, 1), "VALID"), 3 * 8 * 15),
    "elements": (lambda x: x * x + 1, 2 * 9 * 16),
    "no arithmetic": (lambda x: jnp.transpose(x)[::-1], 0),
    "matrices": (lambda x: x @ x.T, 2 * 9 * 9 * 16),
}


@pytest.mark.parametrize("name", REDUCTIONS)
def test_other_arithmetic_is_counted_as_the_compiler_counts_it(name):
    function, flops = REDUCTIONS[name]
    compiled = jax.jit(function).lower(jax.ShapeDtypeStruct((9, 16), jnp.float32)).compile()
    assert Program.of(compiled).flops == flops == compiled.cost_analysis().get("flops", 0.0)


GROUPS = {
    "{{0,2},{1,3}}": ((0, 2), (1, 3)),
    "{}": (tuple(range(8)),),
    "[2,4]<=[8]": ((0, 1, 2, 3), (4, 5, 6, 7)),
    "[4,2]<=[2,4]T(1,0)": ((0, 4), (1, 5), (2, 6), (3, 7)),
    "mesh['a'=8,'b'=1] {'a'}": (tuple(range(8)),),
    "mesh['a'=2,'b'=4] {'b'}": ((0, 1, 2, 3), (4, 5, 6, 7)),
    "mesh['a'=2,'b'=4] {'a'}": ((0, 4), (1, 5), (2, 6), (3, 7)),
    "mesh['a'=8] {'a':(1)2}": ((0, 4), (1, 5), (2, 6), (3, 7)),
    "mesh['a'=8] {'a':(2)4}": ((0, 1, 2, 3), (4, 5, 6, 7)),
    "mesh['a'=8] {'a':(2)2}": ((0, 2), (1, 3), (4, 6), (5, 7)),
    "mesh['a'=8] {'a':(1)2,'a':(4)2}": ((0, 1, 4, 5), (2, 3, 6, 7)),
    "mesh['a'=2,'b'=4] {'a','b'}": (tuple(range(8)),),
    "mesh['a'=2,'b'=4], device_ids=([4,2]T(1,0)) {'b'}": ((0, 2, 4, 6), (1, 3, 5, 7)),
    "mesh['a'=2,'b'=4], device_ids=(7,6,5,4,3,2,1,0) {'b'}": ((7, 6, 5, 4), (3, 2, 1, 0)),
}


@pytest.mark.parametrize("text", GROUPS)
def test_groups_of_devices_in_all_notations(text):
    module = parse(entry("%p = f32[6]{0} parameter(0)", f"%r = f32[6]{{0}} all-reduce(%p), replica_groups={text}"))
    found = collective_of(module.entry.root, 24, module.devices)
    assert found is not None
    assert (found.operation, found.bytes, found.dtype) == ("all-reduce", 24, "float32")
    assert found.groups == GROUPS[text]
    assert found.group_size == len(GROUPS[text][0])


EXCHANGES = {
    "%r = f32[6]{0} all-reduce-start(%p), replica_groups={}, to_apply=%add": ("all-reduce", 24),
    "%r = (f32[6]{0}, f32[48]{0}) all-gather-start(%p), replica_groups={}": ("all-gather", 192),
    "%r = f32[48]{0} all-gather(%p), replica_groups={}": ("all-gather", 192),
    "%r = f32[2]{0} reduce-scatter(%p), replica_groups={}, to_apply=%add": ("reduce-scatter", 24),
    "%r = (f32[6]{0}, f32[6]{0}, u32[], u32[]) collective-permute-start(%p), source_target_pairs={{0,1},{1,0}}": (
        "collective-permute",
        24,
    ),
}


@pytest.mark.parametrize("line", EXCHANGES, ids=lambda line: line.split("(%p")[0].split()[-1])
def test_what_is_exchanged_is_the_whole_array(line):
    done = "%d = f32[6]{0} all-reduce-done(%r)"
    program = Program.parse(entry("%p = f32[6]{0} parameter(0)", line, *[done] * ("-start" in line), before=ADD), "gpu")
    (kernel,) = program.kernels  # what is started is counted once
    operation, size = EXCHANGES[line]
    assert kernel.kind == "collective"
    assert (kernel.collective.operation, kernel.collective.bytes) == (operation, size)
    assert kernel.bytes_read == 24
    assert kernel.bytes_written == (8 if operation == "reduce-scatter" else size)


def test_a_number_is_exchanged():
    text = entry("%p = f32[] parameter(0)", "ROOT %r = f32[] all-reduce-start(%p), replica_groups={}", before=ADD)
    (kernel,) = Program.parse(text, "gpu").kernels
    assert (kernel.bytes_read, kernel.bytes_written, kernel.collective.bytes) == (4, 4, 4)


def test_the_room_that_a_library_works_in_is_no_result():
    call = '%r = (f32[4,2]{1,0}, s8[4194304]{0}) custom-call(%p, %q), custom_call_target="__cublas$lt$matmul"'
    config = 'backend_config={"gemm_backend_config":{"dot_dimension_numbers":{"lhs_contracting_dimensions":["0"]}}}'
    lines = "%p = f32[3,4]{1,0} parameter(0)", "%q = f32[3,2]{1,0} parameter(1)", f"{call}, {config}"
    (kernel,) = Program.parse(entry(*lines), "gpu").kernels
    assert (kernel.opcode, kernel.kind, kernel.dtype) == ("__cublas$lt$matmul", "product", "tensorfloat32")
    assert (kernel.flops, kernel.multiply_adds) == (48, 24)
    assert (kernel.bytes_read, kernel.bytes_written) == (48 + 24, 32)


PRECISIONS = {
    "": {"cpu": "float32", "gpu": "tensorfloat32", "tpu": "bfloat16"},
    ", operand_precision={highest,highest}": dict.fromkeys(("cpu", "gpu", "tpu"), "float32"),
    ', backend_config={"precision_config":{"operand_precision":["HIGHEST","HIGHEST"]}}': {"gpu": "float32"},
}


@pytest.mark.parametrize("said", PRECISIONS, ids=["default", "highest", "highest to a library"])
def test_the_type_that_a_device_multiplies_depends_on_the_precision(said):
    operands = "%p = f32[3,4]{1,0} parameter(0)", "%q = f32[4,2]{1,0} parameter(1)"
    dot = f"ROOT %d = f32[3,2]{{1,0}} dot(%p, %q), lhs_contracting_dims={{1}}, rhs_contracting_dims={{0}}{said}"
    for platform, dtype in PRECISIONS[said].items():
        (kernel,) = Program.parse(entry(*operands, dot), platform).kernels
        assert (kernel.kind, kernel.dtype, kernel.multiply_adds) == ("product", dtype, 24)


KINDS = {
    "%r = f32[4,3]{1,0} transpose(%p), dimensions={1,0}": "copy",
    "%r = f32[3,4]{0,1} copy(%p)": "copy",
    "%r = bf16[3,4]{1,0} convert(%p)": "elementwise",
    "%r = f32[3,4]{1,0} negate(%p)": "elementwise",
    "%r = f32[3,4]{1,0} sort(%p), dimensions={1}": "reduction",
    '%r = f32[3,4]{1,0} xor(%p, %p), metadata={op_name="jit(f)/threefry2x32/xor"}': "random",
    '%r = (f32[3,4]{1,0}, u8[9]{0}) custom-call(%p), custom_call_target="__cub$DeviceRadixSort"': "other",
}


@pytest.mark.parametrize("line", KINDS, ids=lambda line: line.split("(%p")[0].split()[-1])
def test_kinds_of_kernels(line):
    (kernel,) = Program.parse(entry("%p = f32[3,4]{1,0} parameter(0)", line), "gpu").kernels
    assert kernel.kind == KINDS[line]


def test_a_fusion_reads_and_writes_the_slices_that_it_needs():
    fused = """%fused (a: f32[100,8], b: s32[], c: f32[8]) -> f32[100,8] {
  %a = f32[100,8]{1,0} parameter(0)
  %b = s32[] parameter(1)
  %c = f32[8]{0} parameter(2)
  %s = f32[1,8]{1,0} dynamic-slice(%a, %b, %b), dynamic_slice_sizes={1,8}
  %v = f32[1,8]{1,0} bitcast(%c)
  %m = f32[1,8]{1,0} multiply(%s, %v)
  ROOT %u = f32[100,8]{1,0} dynamic-update-slice(%a, %m, %b, %b)
}

"""
    module = parse(
        entry(
            "%a.1 = f32[100,8]{1,0} parameter(0)",
            "%b.1 = s32[] parameter(1)",
            "%c.1 = f32[8]{0} parameter(2)",
            "%f = f32[100,8]{1,0} fusion(%a.1, %b.1, %c.1), kind=kLoop, calls=%fused",
            before=fused,
        )
    )
    assert traffic_of(module, module.entry, module.entry.root) == (32 + 4 + 32, 32, 0)
    assert work_of(module, module.entry, module.entry.root) == (8, 0)


@pytest.mark.parametrize(("last", "read"), [("ROOT %s = ", 2 * 100 + 2 * 8), ("%s = ", 2 * 800 + 2 * 8)])
def test_a_slice_of_what_is_computed_element_by_element_reads_a_slice(last, read):
    fused = f"""%fused (a: bf16[100,8], b: bf16[8]) -> f32[100,1] {{
  %a = bf16[100,8]{{1,0}} parameter(0)
  %b = bf16[8]{{0}} parameter(1)
  %c = bf16[100,8]{{1,0}} broadcast(%b), dimensions={{1}}
  %d = bf16[100,8]{{1,0}} add(%a, %c)
  %e = f32[100,8]{{1,0}} convert(%d)
  {last}f32[100,1]{{1,0}} slice(%e), slice={{[0:100], [0:1]}}
  {"" if "ROOT" in last else "ROOT %r = f32[100,8]{1,0} subtract(%e, %e)"}
}}

"""
    module = parse(
        entry(
            "%a.1 = bf16[100,8]{1,0} parameter(0)",
            "%b.1 = bf16[8]{0} parameter(1)",
            "%f = f32[100,1]{1,0} fusion(%a.1, %b.1), kind=kLoop, calls=%fused",
            before=fused,
        )
    )
    assert traffic_of(module, module.entry, module.entry.root).read == read


def test_the_memory_on_a_chip_is_told_apart():
    program = Program.parse(
        entry(
            "%p = f32[8,128]{1,0:T(8,128)} parameter(0)",
            "%s = (f32[8,128]{1,0:T(8,128)S(1)}, f32[8,128]{1,0:T(8,128)}, u32[]{:S(2)}) copy-start(%p)",
            "%d = f32[8,128]{1,0:T(8,128)S(1)} copy-done(%s)",
            "%q = ((f32[8,128]{1,0:T(8,128)}), f32[4,128]{1,0:T(4,128)S(1)}, s32[]{:S(2)}) slice-start(%p), "
            "slice={[0:4], [0:128]}",
            "%e = f32[4,128]{1,0:T(4,128)S(1)} slice-done(%q)",
            "ROOT %n = f32[8,128]{1,0:T(8,128)} negate(%d)",
        ),
        "tpu",
    )
    assert [each.kind for each in program.kernels] == ["transfer", "transfer", "elementwise"]
    size = 8 * 128 * 4
    assert [(each.bytes_read, each.bytes_written, each.on_chip_bytes) for each in program.kernels] == [
        (size, 0, size),
        (size // 2, 0, size // 2),
        (0, size, size),
    ]


def test_what_runs_beside_a_transfer_is_counted():
    program = Program.parse(
        entry(
            "%p = f32[8,128]{1,0:T(8,128)} parameter(0)",
            "%s = (f32[8,128]{1,0:T(8,128)S(1)}, f32[8,128]{1,0:T(8,128)}, u32[]{:S(2)}) copy-start(%p)",
            "%n = f32[8,128]{1,0:T(8,128)} negate(%p)",
            "%q = (f32[8,128]{1,0:T(8,128)S(1)}, f32[8,128]{1,0:T(8,128)}, u32[]{:S(2)}) copy-start(%n)",
            "%m = f32[8,128]{1,0:T(8,128)} negate(%n)",
            "%d = f32[8,128]{1,0:T(8,128)S(1)} copy-done(%s)",
            "%o = f32[8,128]{1,0:T(8,128)} add(%d, %m)",
            "%e = f32[8,128]{1,0:T(8,128)S(1)} copy-done(%q)",
            "ROOT %r = f32[8,128]{1,0:T(8,128)} add(%e, %o)",
        ),
        "tpu",
    )
    assert [(each.name, each.beside) for each in program.kernels] == [
        ("s", 3),
        ("n", 0),
        ("q", 2),
        ("m", 0),
        ("o", 0),
        ("r", 0),
    ]


def test_loops_run_their_trips_and_conditionals_their_dearest_branch():
    branches = """%body (s: f32[9]) -> f32[9] {
  %s = f32[9]{0} parameter(0)
  ROOT %n = f32[9]{0} negate(%s)
}

%test (t: f32[9]) -> pred[] {
  %t = f32[9]{0} parameter(0)
  ROOT %y = pred[] constant(true)
}

%nothing (z: f32[9]) -> f32[9] {
  ROOT %z = f32[9]{0} parameter(0)
}

"""
    config = """backend_config={"known_trip_count":{"n":"7"}}"""
    program = Program.parse(
        entry(
            "%p = f32[9]{0} parameter(0)",
            f"%w = f32[9]{{0}} while(%p), condition=%test, body=%body, {config}",
            "%v = f32[9]{0} while(%w), condition=%test, body=%body",
            "%i = pred[] constant(true)",
            "ROOT %c = f32[9]{0} conditional(%i, %v, %v), true_computation=%nothing, false_computation=%body",
            before=branches,
        ),
        "gpu",
    )
    assert [each.count for each in program.kernels] == [7, 1, 1]
    assert (program.flops, program.bytes) == (9 * 9, 9 * 72)
    assert program.loops_without_count == ("v",)
    assert (program.conditionals, program.bytes_of_choices) == (("c",), 72)


def test_what_choices_within_choices_would_save():
    branches = """%one (s: f32[9]) -> f32[9] {
  %s = f32[9]{0} parameter(0)
  ROOT %n = f32[9]{0} negate(%s)
}

%two (t: f32[9]) -> f32[9] {
  %t = f32[9]{0} parameter(0)
  %m = f32[9]{0} negate(%t)
  ROOT %o = f32[9]{0} negate(%m)
}

%either (u: f32[9]) -> f32[9] {
  %u = f32[9]{0} parameter(0)
  %q = f32[9]{0} negate(%u)
  %j = pred[] constant(true)
  ROOT %d = f32[9]{0} conditional(%j, %q, %q), true_computation=%one, false_computation=%two
}

"""
    for others, saved in (("two", 72), ("one", 144)):
        program = Program.parse(
            entry(
                "%p = f32[9]{0} parameter(0)",
                "%i = pred[] constant(true)",
                f"ROOT %c = f32[9]{{0}} conditional(%i, %p, %p), true_computation=%{others}, false_computation=%either",
                before=branches,
            ),
            "gpu",
        )
        assert (program.bytes, program.bytes_of_choices) == (3 * 72, saved)
