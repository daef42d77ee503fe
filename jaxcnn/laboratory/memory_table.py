"""The tables of docs/recipes.md that say what each recipe's step takes on devices that need not be there."""

import dataclasses
import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import jax

from jaxcnn import strict_json
from jaxcnn.config import TrainConfig
from jaxcnn.config.stored import to_json
from jaxcnn.devices.parallel import DataParallel
from jaxcnn.devices.topologies import over_topology
from jaxcnn.errors import UserError
from jaxcnn.laboratory.dry_run import with_fewest_micro_batches
from jaxcnn.paths import replace_whole
from jaxcnn.provenance import STEP, digest, digest_of_code


@dataclasses.dataclass(frozen=True)
class Row:
    """What a recipe's step takes on each device, in bytes."""

    batch: int
    micro_batches: int
    """The fewest micro-batches that fit, doubled from the recipe's own."""
    state: int
    """The size of parameters, batch statistics, optimizer state and moving average."""
    images: int
    """The size of the batch."""
    temporaries: int
    total: int
    seconds: float
    """The time that it took to find this, which is mostly the compiler's."""


def memory_lines(recipes: Iterable[TrainConfig], topology: str, kept: Path | None = None) -> Iterator[str]:
    """Yields a Markdown table of the memory of each recipe's step on a topology, in MB on each device.

    Args:
        recipes: the recipes to compile.
        topology: the name of the topology, as for `over_topology`.
        kept: a JSON file of the rows, which is written after each. What it holds already, of the same recipe,
            topology, version of JAX and level of optimization, is not compiled again.

    Raises:
        UserError: there is no such topology, a recipe does not fit there, or the file is of another kind.
    """
    rows = _read(kept) if kept else {}
    devices = over_topology(topology)
    yield "| recipe | batch | micro-batches | state | batch | temporaries | in all |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    for config in recipes:
        key = _key(config, topology)
        row = rows[key] if key in rows else _found(config, devices)
        if kept and key not in rows:
            rows[key] = row
            stored = {name: dataclasses.asdict(each) for name, each in rows.items()}
            replace_whole(kept, strict_json.dumps(stored, indent=1) + "\n")
        sizes = (row.state, row.images, row.temporaries, row.total)
        numbers = [f"{row.batch}", f"{row.micro_batches}"] + [f"{size / 1e6:,.0f}" for size in sizes]
        yield f"| `{config.name}` | {' | '.join(numbers)} |"


def _found(config: TrainConfig, devices: DataParallel) -> Row:
    start = time.perf_counter()
    found = with_fewest_micro_batches(config, devices)
    memory = found.memory
    return Row(
        batch=config.data.batch_size,
        micro_batches=found.config.parallel.micro_batches,
        state=sum(memory.held.values()) - memory.held["batch"],
        images=memory.held["batch"],
        temporaries=memory.temporaries,
        total=memory.total,
        seconds=time.perf_counter() - start,
    )


def _key(config: TrainConfig, topology: str) -> str:
    made = f"{digest(to_json(config))[:12]}, code {digest_of_code(STEP)[:12]}"
    level = getattr(jax.config, "jax_optimization_level", "")
    return f"{config.name} {made} on {topology} by jax {jax.__version__} at level {level}"


def _read(kept: Path) -> dict[str, Row]:
    try:
        return {name: Row(**facts) for name, facts in json.loads(kept.read_text()).items()}
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, ValueError, TypeError, AttributeError) as error:
        reason = getattr(error, "strerror", None) or "it holds no rows of such a table"
        raise UserError(f"{kept} cannot be gone on with ({reason}): name another file, or remove it") from None
