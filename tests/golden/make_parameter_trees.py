"""Makes parameter_trees.json beside it: the shapes of every variable of every network, a line a module.

    python tests/golden/make_parameter_trees.py

Run it after a change of names or shapes that is meant, and read the difference.
"""

import json
from pathlib import Path

import flax.traverse_util
import jax
import jax.numpy as jnp

import jaxcnn
from jaxcnn.models.registry import get_variant

FILE = Path(__file__).parent / "parameter_trees.json"


def build(name: str) -> tuple[dict, jax.ShapeDtypeStruct]:
    """Variables and logits of a network for two images of its own size, as shapes."""
    variant = get_variant(name)
    # The lowering that takes least time to trace; variables do not depend on it.
    model = jaxcnn.create_model(name, lowering="xla")
    images = jax.ShapeDtypeStruct((2, variant.input_size, variant.input_size, variant.channels), jnp.float32)
    logits, variables = jax.eval_shape(model.init_with_output, jax.random.key(0), images)
    return variables, logits


def tree_of(variables: dict) -> dict[str, dict[str, str]]:
    """Path of a module to its variables' shapes, statistics included: ``{"conv1": {"kernel": "7x7x3x64"}}``."""
    modules: dict[str, dict[str, str]] = {}
    for (_, *path, leaf), value in flax.traverse_util.flatten_dict(variables).items():
        modules.setdefault("/".join(path), {})[leaf] = "x".join(map(str, value.shape))
    return {path: dict(sorted(shapes.items())) for path, shapes in sorted(modules.items())}


def main() -> None:
    lines = []
    for name in jaxcnn.list_models():
        tree = tree_of(build(name)[0])
        modules = ",\n".join(f"  {json.dumps(path)}: {json.dumps(shapes)}" for path, shapes in tree.items())
        lines.append(f"{json.dumps(name)}: {{\n{modules}\n}}")
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
