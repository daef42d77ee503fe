"""Every example in a docstring runs and gives what it says."""

import ast
import doctest
import importlib
from pathlib import Path

import pytest

import jaxcnn

ROOT = Path(jaxcnn.__file__).parent


def with_examples():
    """The modules with examples in them, by their names."""
    for path in sorted(ROOT.rglob("*.py")):
        if ">>> " in path.read_text() and "configs" not in path.parts:
            yield ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")


def examples_of(name):
    """How many examples a module's source holds."""
    tree = ast.parse(Path(importlib.import_module(name).__file__).read_text())
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docstrings = [ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, kinds)]
    return sum(len(doctest.DocTestParser().get_examples(docstring)) for docstring in docstrings)


@pytest.mark.parametrize("name", list(with_examples()))
def test_examples_run(name):
    module = importlib.import_module(name)
    found = doctest.DocTestFinder(exclude_empty=True).find(module, name)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for test in found:
        runner.run(test)
    assert runner.failures == 0
    assert sum(len(test.examples) for test in found) == examples_of(name), "doctest does not find all examples"


def test_there_are_examples():
    assert len(list(with_examples())) >= 10
