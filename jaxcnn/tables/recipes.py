"""The tables of docs/recipes.md: a line a recipe."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from jaxcnn.config import TrainConfig
from jaxcnn.laboratory.topology import over_topology, with_fewest_micro_batches
from jaxcnn.runs import load_config


def find_recipes(folder: Path, pattern: str) -> dict[str, TrainConfig]:
    """Returns the recipes of a folder whose file names, less ``.py``, match a shell pattern, sorted, by name."""
    return {path.stem: load_config(path) for path in sorted(folder.glob(f"{pattern}.py"))}


def recipe_lines(recipes: Iterable[TrainConfig]) -> Iterator[str]:
    """Yields a Markdown table: what each recipe trains, for how long, and the error published of it."""
    yield "| recipe | network | batch | epochs | published top-1 / top-5 error, % | measured on |"
    yield "| --- | --- | ---: | ---: | ---: | --- |"
    for config in recipes:
        published = config.published
        errors = ["?" if error is None else f"{error:g}" for error in (published.top1_error, published.top5_error)]
        where = f"{published.protocol}; {published.source}" if published.source else ""
        yield (
            f"| `{config.name}` | `{config.model.name}` | {config.data.batch_size} | {config.epochs:.4g} | "
            f"{' / '.join(errors) if published.source else ''} | {where} |"
        )


def memory_lines(recipes: Iterable[TrainConfig], topology: str) -> Iterator[str]:
    """Yields a Markdown table: each recipe's step compiled for a TPU topology, in MB on each device.

    Raises:
        UserError: there is no such topology, or a recipe does not fit on it.
    """
    devices = over_topology(topology)
    yield "| recipe | batch | micro-batches | state | batch | temporaries | in all |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    for config in recipes:
        found = with_fewest_micro_batches(config, devices)
        memory = found.memory
        state = sum(memory.held.values()) - memory.held["batch"]
        sizes = (state, memory.held["batch"], memory.temporaries, memory.total)
        counts = (config.data.batch_size, found.config.parallel.micro_batches)
        numbers = [f"{count}" for count in counts] + [f"{size / 1e6:,.0f}" for size in sizes]
        yield f"| `{config.name}` | {' | '.join(numbers)} |"
