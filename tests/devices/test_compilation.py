"""Compiled programs that are kept for the next start."""

import os
import subprocess
import sys
import threading

import jax
import jax.numpy as jnp
import pytest

from jaxcnn.devices import compilation
from jaxcnn.devices.compilation import default_folder, kept_programs, nothing_kept, processor
from jaxcnn.errors import UserError
from jaxcnn.training.report import read_metrics


@pytest.fixture
def keeps_nothing(monkeypatch):
    """A process that keeps nothing yet, as those of most users."""
    before = jax.config.values["jax_compilation_cache_dir"]
    jax.config.update("jax_compilation_cache_dir", None)
    yield
    jax.config.update("jax_compilation_cache_dir", before)


def compile_one(number):
    """Compiles a program of this number, as a process that has just started does."""
    return jax.jit(lambda x: x * number + 1).lower(jax.ShapeDtypeStruct((3,), jnp.float32)).compile()


def programs(folder):
    return sorted(folder.glob("*-cache"))


def test_the_second_block_finds_what_the_first_has_kept(tmp_path):
    for found in (0, 1):
        with kept_programs(tmp_path) as compilations:
            compiled = compile_one(2)
        assert (compilations.programs, compilations.found) == (1, found)
        assert compilations.seconds > 0
        assert compiled(jnp.ones(3)).tolist() == [3, 3, 3]
        assert len(programs(tmp_path)) == 1
        assert str(compilations).startswith("compiled 1 programs in ")
        assert f" s; {found} of them had been kept in {tmp_path}" in str(compilations)


def test_nothing_is_counted_or_kept_after_the_block(tmp_path):
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = [jax.config.values[name] for name in names]
    with kept_programs(tmp_path) as compilations:
        pass
    compile_one(3)
    assert compilations.programs == 0
    assert not programs(tmp_path)
    assert [jax.config.values[name] for name in names] == before


def test_what_the_process_keeps_already_stays_where_it_is():
    own = jax.config.values["jax_compilation_cache_dir"]
    with kept_programs() as compilations:
        assert compilations.folder == own == os.environ["JAX_COMPILATION_CACHE_DIR"]
        assert jax.config.values["jax_persistent_cache_min_compile_time_secs"] == 0.1  # as conftest has set it


def test_by_default_it_is_a_folder_of_this_processor(keeps_nothing, monkeypatch, tmp_path):
    monkeypatch.setenv("JAXCNN_CACHE", str(tmp_path))
    with kept_programs() as outer:
        assert outer.folder == str(default_folder()) == str(tmp_path / "compiled" / processor())
        compile_one(4)
        with kept_programs() as inner:
            assert inner.folder == outer.folder
            compile_one(5)
    assert (outer.programs, inner.programs) == (2, 1)
    assert len(programs(default_folder())) == 2
    assert default_folder().stat().st_mode & 0o777 == 0o700


def test_it_can_be_switched_off(monkeypatch, tmp_path):
    jax.config.update("jax_enable_compilation_cache", False)
    try:
        with kept_programs(tmp_path / "none") as compilations:
            compile_one(6)
    finally:
        jax.config.update("jax_enable_compilation_cache", True)
    assert not (tmp_path / "none").exists()
    assert "which are not kept" in str(compilations)


def test_what_is_measured_is_compiled_anew(tmp_path):
    with kept_programs(tmp_path) as compilations:
        with nothing_kept():
            compile_one(13)
        assert (compilations.programs, programs(tmp_path)) == (1, [])
        for _ in range(2):
            compile_one(13)
        with nothing_kept():
            compile_one(13)
    assert (compilations.programs, compilations.found, len(programs(tmp_path))) == (4, 1, 1)


def test_a_program_that_was_cut_short_is_kept_anew(tmp_path):
    with kept_programs(tmp_path):
        compile_one(7)
    (program,) = programs(tmp_path)
    whole = program.read_bytes()
    program.write_bytes(whole[:-20])
    with kept_programs(tmp_path) as compilations:  # a warning of JAX's would be an error here
        assert not programs(tmp_path)
        compile_one(7)
    assert compilations.found == 0
    assert len(program.read_bytes()) == pytest.approx(len(whole), abs=50)


def test_the_programs_that_were_not_used_for_longest_go_first(tmp_path, monkeypatch):
    with kept_programs(tmp_path):
        for number in (8, 9, 10):
            compile_one(number)
    by_age = programs(tmp_path)
    for age, path in enumerate(by_age):
        os.utime(path, (1e9 + age, 1e9))
    os.utime(by_age[0], (2e9, 1e9))  # it was read last
    monkeypatch.setattr(compilation, "LARGEST", sum(path.stat().st_size for path in by_age) - 1)
    with kept_programs(tmp_path):
        assert programs(tmp_path) == [by_age[0], by_age[2]]


def test_a_folder_that_cannot_be_made(keeps_nothing, monkeypatch, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    refused = r"file cannot be written: .*: name another folder with --compilation-cache"
    with pytest.raises(UserError, match=refused), kept_programs(tmp_path / "file"):
        raise AssertionError
    monkeypatch.setenv("JAXCNN_CACHE", str(tmp_path / "file"))
    with caplog.at_level("INFO", "jaxcnn"), kept_programs() as compilations:
        compile_one(11)
    assert compilations.folder is None
    assert "nothing that is compiled is kept" in caplog.text


def test_threads_share_a_folder(tmp_path):
    with kept_programs(tmp_path) as compilations:
        threads = [threading.Thread(target=compile_one, args=[12]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert compilations.programs == 4
    assert len(programs(tmp_path)) == 1


@pytest.mark.slow
def test_a_second_start_of_the_default_recipe_compiles_in_a_fifth_of_the_time(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    environment |= {"JAXCNN_CACHE": str(tmp_path / "cache"), "XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "jaxcnn", "train", "--epochs", "2", "--workdir"]
    found = []
    for name in ("first", "second"):
        ran = subprocess.run(
            [*command, str(tmp_path / name)], env=environment, cwd=tmp_path, check=True, capture_output=True, text=True
        )
        (line,) = (line for line in read_metrics(tmp_path / name / "metrics.jsonl") if line["kind"] == "compilations")
        assert f"of them had been kept in {tmp_path / 'cache' / 'compiled'}" in ran.stdout
        found.append(line)
    first, second = found
    assert (first["found"], second["found"]) == (0, second["programs"])
    assert second["seconds"] <= 0.2 * first["seconds"]


@pytest.mark.slow
def test_processes_that_start_together_share_a_folder(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    environment |= {"JAXCNN_CACHE": str(tmp_path / "cache"), "XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "jaxcnn", "train", "--epochs", "2", "--workdir"]
    running = [
        subprocess.Popen([*command, str(tmp_path / f"{number}")], env=environment, cwd=tmp_path) for number in range(3)
    ]
    assert [process.wait() for process in running] == [0, 0, 0]
    logs = [read_metrics(tmp_path / f"{number}" / "metrics.jsonl")[-1] for number in range(3)]
    assert logs[0]["kind"] == "evaluation"
    assert logs[0] == logs[1] == logs[2]
