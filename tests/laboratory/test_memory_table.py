"""Recipes compiled for devices that are not there: needs what ``pip install 'jaxcnn[tpu,cuda]'`` brings."""

import dataclasses
import importlib.metadata
import importlib.util
import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from jaxcnn.errors import UserError
from jaxcnn.laboratory.memory_table import memory_lines
from jaxcnn.recipes import find_recipes

RECIPES = find_recipes("*_imagenet*")
DOCS = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text()
MEGABYTES = {"v5e:2x2": 15.75 * 2**30 / 1e6, "v5e:4x4": 15.75 * 2**30 / 1e6, "h100:8": 0.75 * 84942979072 / 1e6}
"""The part of a device's memory that the compiler may use, and that JAX takes."""

OF_ONE_COMPILER = {"convnext_tiny_imagenet_2022", "efficientnet_b0_imagenet_autoaugment"}
"""The recipes that other versions of libtpu are known to compile for four devices otherwise, as the docs say."""


@pytest.fixture
def found(monkeypatch):
    """Nothing is compiled; the names of what would be."""
    names = []

    def pretend(config, devices):
        names.append(config.name)
        held = {"parameters": 10**6, "batch": 2 * 10**6}
        memory = SimpleNamespace(held=held, temporaries=3 * 10**9, total=3_003_500_000)
        return SimpleNamespace(config=config, memory=memory)

    monkeypatch.setattr("jaxcnn.laboratory.memory_table.over_topology", lambda name: None)
    monkeypatch.setattr("jaxcnn.laboratory.memory_table.with_fewest_micro_batches", pretend)
    return names


def test_what_is_kept_is_not_compiled_again(tmp_path, found):
    first, second = (RECIPES[name].config for name in ("resnet18_imagenet", "vgg16_imagenet"))
    kept = tmp_path / "rows.json"
    *_, row = memory_lines([first], "h100:8", kept)
    assert row == "| `resnet18_imagenet` | 256 | 1 | 1 | 2 | 3,000 | 3,004 |"
    assert list(memory_lines([first, second], "h100:8", kept))[2] == row
    assert found == ["resnet18_imagenet", "vgg16_imagenet"]
    larger = dataclasses.replace(first, data=dataclasses.replace(first.data, batch_size=512))
    list(memory_lines([larger, second], "h100:8", kept))
    list(memory_lines([second], "v5e:2x2", kept))
    assert found == ["resnet18_imagenet", "vgg16_imagenet", "resnet18_imagenet", "vgg16_imagenet"]
    assert len(json.loads(kept.read_text())) == 4
    list(memory_lines([second], "v5e:2x2"))
    assert len(found) == 5


@pytest.mark.parametrize("content", ["[]", "{", '{"a": {"b": 1}}', '{"a": 1}'])
def test_a_file_of_another_kind_is_left_alone(content, tmp_path, found):
    kept = tmp_path / "other.json"
    kept.write_text(content)
    with pytest.raises(UserError, match=r"other.json cannot be gone on with \(it holds no rows"):
        list(memory_lines([], "h100:8", kept))
    assert kept.read_text() == content


@pytest.mark.slow
@pytest.mark.parametrize("topology", ["v5e:2x2", "v5e:4x4"])
@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_compiles_for_tpus_and_fits_as_docs_say(name, topology, quick_compilation):
    pytest.importorskip("libtpu")
    if topology == "v5e:2x2" and name in OF_ONE_COMPILER:
        told = re.search(r"libtpu ([\d.]+\d)", table(topology)).group(1)
        if (here := importlib.metadata.version("libtpu")) != told:
            pytest.skip(f"the row is of libtpu {told}, and not of {here}, which takes other memory")
    check(name, topology)


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_compiles_for_gpus_and_fits_as_docs_say(name, quick_compilation):
    if not importlib.util.find_spec("jax_plugins"):
        pytest.skip("needs what compiles for GPUs")
    check(name, "h100:8")


def check(name, topology):
    *_, line = memory_lines([RECIPES[name].config], topology)
    _, _, batch, micro_batches, *_, total, _ = line.split("|")
    assert 0 < float(total.replace(",", "")) < MEGABYTES[topology]
    assert f"\n| `{name}` |{batch}|{micro_batches}|" in table(topology)


def table(topology):
    """Returns what docs/recipes.md says of all recipes on these devices."""
    return DOCS[DOCS.index(f"--topology {topology}`, with") :].partition("\n### ")[0]
