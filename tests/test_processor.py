"""What the system's texts say about a processor."""

import pytest

from jaxcnn.processor import Processor, described, measured_peak, this_processor

CPUINFO = """\
processor\t: 0
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 85
model name\t: Intel(R) Xeon(R) Platinum 8272CL CPU @ 2.60GHz
flags\t\t: fpu sse sse2 {flags}

processor\t: 1
model name\t: another
flags\t\t: fpu
"""
ARM = "processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd sve\nCPU part\t: 0xd40\n"


@pytest.mark.parametrize(
    ("flags", "xla_flags", "bits"),
    [
        ("avx avx2 avx512f avx512vl", "", 512),
        ("avx avx2", "", 256),
        ("avx", "--xla_cpu_max_isa=AVX512", 256),
        ("", "", 128),
        ("avx avx2 avx512f", "--xla_cpu_max_isa=AVX2", 256),
        ("avx avx2 avx512f", "--a=1 --xla_cpu_max_isa=avx2 --xla_cpu_max_isa=SSE4_2", 128),
        ("avx avx2 avx512f", "--xla_cpu_max_isa=AVX512_VNNI", 512),
        ("avx avx2 avx512f", "--xla_cpu_max_isa=whatever", 512),
    ],
)
def test_vectors_are_as_wide_as_the_processor_and_xla_allow(flags, xla_flags, bits):
    found = described(CPUINFO.format(flags=flags), (32 << 10, 1 << 20), 4, xla_flags)
    assert found.name == "Intel(R) Xeon(R) Platinum 8272CL CPU @ 2.60GHz (6, 85)"
    assert found.vector_bits == bits
    assert str(found).endswith(f"(6, 85), 4 cores, vectors of {bits} bits, caches of 32 KiB + 1 MiB")


@pytest.mark.parametrize("text", ["", ARM, "no colon\n:::\n"])
def test_other_systems_say_less(text):
    found = described(text, (), 1, "")
    assert found.vector_bits == 128
    assert "1 core, vectors of 128 bits" in str(found)
    assert "caches" not in str(found)
    assert found.name


def test_a_key_is_a_name_of_a_file_and_differs_with_every_fact():
    one = Processor("AMD EPYC (25, 1)", 256, (1, 2), 2)
    others = [
        Processor("AMD EPYC (25, 17)", 256, (1, 2), 2),
        Processor("AMD EPYC (25, 1)", 512, (1, 2), 2),
        Processor("AMD EPYC (25, 1)", 256, (1, 3), 2),
        Processor("AMD EPYC (25, 1)", 256, (1, 2), 4),
    ]
    assert one.key.startswith("amd-epyc-25-1-256bit-2cores-")
    assert len({each.key for each in [one, *others]}) == 5
    assert Processor("/..\n", 128, (), 1).key.startswith("unknown-128bit-1cores-")
    assert not set(Processor("/../ü\n", 128, (), 1).key) & set("/.\n ")


def test_this_machine_has_one_and_reaches_something():
    assert this_processor() == this_processor()
    assert this_processor().cores >= 1
    peak = measured_peak(0.0, side=32, least=1 << 12)
    assert peak.gigaflops > 0
    assert peak.gigabytes_per_s > 0
