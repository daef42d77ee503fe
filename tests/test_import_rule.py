"""Who may import whom, and what importing costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import jaxcnn

ROOT = Path(jaxcnn.__file__).parent
TYPES_ONLY = "TYPE_CHECKING"

# What holds a network from its config to its errors; the rooms that look at it from outside may import all of it.
HOUSE = (
    "config neighbours recipes ops layers models weights data augment devices evaluation training networks adaptation "
    "assembly compiled_step trained export loading run_changes work_folder run_folder runs measuring features "
    "explanations plain_flax"
)
ROOMS = ("benchmarks", "trials", "laboratory", "tables", "pictures")

# What all parts may import of ours, and what each may import besides.
COMMON = {"errors", "lookahead", "opencv", "paths", "provenance", "resident", "strict_json", "text", "types"}
ALLOWED = {
    part: set(others.split())
    for part, others in {
        "children": "",
        "contenders": "children",
        "errors": "",
        "lookahead": "",
        "opencv": "",
        "paths": "",
        "provenance": "",
        "resident": "",
        "strict_json": "",
        "text": "",
        "types": "",
        "config": "config",
        "neighbours": "",
        "recipes": "config neighbours",
        "processor": "",
        "ops": "ops processor",
        "layers": "ops layers",
        "models": "ops layers models",
        "weights": "models weights",
        "data": "config data",
        "augment": "config augment",
        "devices": "config data devices",
        "evaluation": "config devices evaluation",
        "training": "config ops devices evaluation training",
        "networks": "config ops models data augment devices evaluation",
        "adaptation": "config models training",
        "assembly": "config models data augment devices evaluation training networks adaptation",
        "plain_flax": "ops layers models",
        "compiled_step": "config recipes ops devices assembly work_folder",
        "trained": "config weights data devices evaluation networks",
        "export": "config ops models weights augment trained export",
        "loading": "config recipes models weights augment devices evaluation training networks adaptation assembly "
        "trained export",
        "run_changes": "config recipes ops weights work_folder data",
        "work_folder": "config recipes ops processor data devices training",
        "run_folder": "config recipes training run_changes work_folder",
        "features": "config recipes models data augment devices evaluation training networks trained work_folder "
        "features",
        "explanations": "config models data augment devices evaluation networks trained features explanations",
        "classical": "config recipes data devices evaluation training work_folder features classical",
        "detection": f"{HOUSE} detection",
        "runs": "config recipes data devices evaluation training assembly compiled_step loading run_changes run_folder",
        "supervision": "training",
        "measuring": "config data devices evaluation trained",
        "transfer": f"{HOUSE} children transfer",
        **{room: f"{HOUSE} processor detection children contenders {room}" for room in ROOMS},
        "cli": f"{HOUSE} processor children supervision transfer classical detection {' '.join(ROOMS)} cli",
        "__main__": "cli",
        "__init__": "models weights devices loading runs",
    }.items()
}


def imports(path):
    """(module, whether at module level) of everything a file imports, but for what only type checkers read."""
    tree = ast.parse(path.read_text())
    tree.body = [node for node in tree.body if not (isinstance(node, ast.If) and ast.unparse(node.test) == TYPES_ONLY)]
    top = set(map(id, tree.body))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) in top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from ((f"{node.module}.{alias.name}", id(node) in top) for alias in node.names)


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_only_what_it_may(path):
    part = path.relative_to(ROOT).parts[0].removesuffix(".py")
    for module, at_top in imports(path):
        first, *rest = module.split(".")
        if first == "jaxcnn" and rest:
            assert rest[0] in ALLOWED[part] | COMMON, f"{path} imports {module}"
        assert first not in ("scripts", "configs", "tests"), f"{path} imports {module}"
        assert not (first in ("tensorflow", "torch", "torchvision") and at_top), f"{path} imports {module} at its top"
        assert part not in ("data",) or first != "jax", f"{path} imports {module}"


# tensorboardX imports PyTorch where that is installed.
EXTRAS = ("cv2", "matplotlib", "scipy", "sklearn", "tensorboardX", "tensorflow", "tensorflow_datasets", "torch")


def test_imports_are_light():
    """What commands need is imported when they need it: a training that begins needs orbax only at its first save."""
    code = (
        "import sys, jaxcnn; print(sorted({m.split('.')[0] for m in sys.modules}))\n"
        "import jaxcnn.cli.train; print(sorted({m.split('.')[0] for m in sys.modules}))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    package, training = loaded.splitlines()
    for heavy in (*EXTRAS, "jax", "flax", "numpy", "orbax", "optax", "pydantic", "simplejpeg", "tyro"):
        assert f"'{heavy}'" not in package
    for heavy in (*EXTRAS, "orbax", "tensorstore", "safetensors"):
        assert f"'{heavy}'" not in training


def test_data_imports_nothing_heavy():
    """Beyond what `import jaxcnn` itself needs."""
    code = (
        "import importlib, pkgutil, sys, jaxcnn; before = set(sys.modules); import jaxcnn.data\n"
        "for part in pkgutil.walk_packages(jaxcnn.data.__path__, 'jaxcnn.data.'): importlib.import_module(part.name)\n"
        "print(sorted({name.split('.')[0] for name in set(sys.modules) - before}))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert "'PIL'" in loaded
    for heavy in ("jax", "flax", "tensorflow", "torch", "tensorflow_datasets", "sklearn"):
        assert f"'{heavy}'" not in loaded


def test_configs_and_data_need_no_jax():
    """Even where augmentations are exported: they are imported when one is asked for."""
    # The package's own __init__ is left out of it.
    code = f"""
import sys, types
sys.modules["jaxcnn"] = types.ModuleType("jaxcnn")
sys.modules["jaxcnn"].__path__ = [{str(ROOT)!r}]
import jaxcnn.config, jaxcnn.data.pipeline
assert not {{"jax", "jaxcnn.augment"}} & sys.modules.keys()
print(jaxcnn.config.from_json('{{"augmentations": [{{"kind": "horizontal_flip"}}]}}').augmentations)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout == "(HorizontalFlip(probability=0.5, kind='horizontal_flip'),)\n"
