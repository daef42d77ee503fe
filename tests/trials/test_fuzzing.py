"""Damaged files on the decoder, and that the trial itself notices what it is for."""

import numpy as np
import pytest

from jaxcnn.cli.main import main
from jaxcnn.data.decode import DecodeError, decode
from jaxcnn.trials import fuzzing
from jaxcnn.trials.fuzzing import Limits, fuzz
from jaxcnn.trials.mutation import join, mutated, originals, split

LIMITS = Limits(max_pixels=1 << 20, memory=1 << 26)


def test_originals_are_whole_and_come_apart():
    kinds = [original.kind for original in originals()]
    assert (kinds.count("JPEG"), kinds.count("PNG")) == (8, 8)
    for original in originals():
        encoded = join(original.kind, list(original.parts))
        assert decode(encoded, 3, LIMITS.max_pixels).shape == (45, 61, 3)
        assert tuple(split(original.kind, encoded)) == original.parts
        assert len(original.parts) >= 3


def test_a_damaged_file_is_a_function_of_its_number():
    files = [mutated(0, number) for number in range(200)]
    assert files == [mutated(0, number) for number in range(200)]
    assert len({*files, *(mutated(1, number) for number in range(200))}) > 380
    assert max(map(len, files)) < 1 << 24


@pytest.fixture(scope="module")
def report():
    return fuzz(0, 0, 2000, LIMITS)


def test_the_decoder_survives_damaged_files(report):
    assert report.failures == {}
    assert report.files == report.decoded + report.refused.total() == 2000
    # The damage is neither so slight nor so gross that nothing was tried.
    assert 300 < report.decoded < 1500
    assert len(report.refused) >= 15


def test_a_file_that_takes_too_long_has_its_number_and_the_next_are_tried(report):
    _, slow = report.slowest
    again = fuzz(0, slow - 1, 3, Limits(seconds=0.005))
    assert again.failures == {slow: "ran for more than 0.005 s"}
    assert again.files == 3


def test_a_file_that_takes_too_much_memory_has_its_number(report):
    _, large = report.largest
    again = fuzz(0, large, 1, Limits(memory=1 << 16))
    assert list(again.failures) == [large]
    assert "MB of memory" in again.failures[large]


def test_a_process_that_crashes_is_followed_by_another(tmp_path, monkeypatch):
    def interpreter(script: str):
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setattr(fuzzing.sys, "executable", str(path))

    interpreter("kill -SEGV $$")
    assert fuzz(0, 7, 3, block=2).failures == dict.fromkeys((7, 8, 9), "ended the process by SIGSEGV")
    interpreter("echo no such module >&2; exit 1")
    with pytest.raises(RuntimeError, match="no such module"):
        fuzz(0, 7, 3)


def test_the_command_keeps_what_failed(tmp_path, capsys):
    # No file takes as little memory as this.
    arguments = ["--seed", "4", "--first", "7", "--files", "2", "--keep", str(tmp_path), "--limits.memory", "-1"]
    assert main(["fuzz-images", *arguments]) == 1
    assert capsys.readouterr().out.startswith("2 files of seed 4: 0 decoded, 0 refused\n")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "4_7": mutated(4, 7),
        "4_8": mutated(4, 8),
    }


@pytest.mark.parametrize(
    ("outcome", "noticed"),
    [
        (TypeError("not a number"), {"failure": "raised TypeError: not a number"}),
        (np.zeros((2, 2, 3), np.float32), {"failure": "became float32 of shape (2, 2, 3)"}),
        (np.zeros((2, 2), np.uint8), {"failure": "became uint8 of shape (2, 2)"}),
        (np.zeros((3, 5, 3), np.uint8), {"failure": "became uint8 of shape (3, 5, 3)"}),
        (DecodeError("has chunk b'a\"\\x00' of 12 bytes"), {"refused": "has chunk b'' of N bytes"}),
        (np.zeros((2, 5, 3), np.uint8), {}),
    ],
    ids=["another error", "floating point", "two axes", "too many pixels", "refused", "decoded"],
)
def test_what_counts_as_a_failure(outcome, noticed, monkeypatch):
    def stand_in(encoded, channels, max_pixels):
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(fuzzing, "decode", stand_in)
    assert fuzzing.try_file(b"", 1, 10) == noticed


def test_memory_that_cannot_be_had_is_a_failure():
    def greedy(encoded, channels, max_pixels):
        raise DecodeError("cannot be decoded (MemoryError)") from MemoryError()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fuzzing, "decode", greedy)
        assert fuzzing.try_file(b"", 1, 10) == {"failure": "asked for more memory than there is"}
