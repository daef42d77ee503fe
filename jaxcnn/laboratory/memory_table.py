"""The table of docs/recipes.md that says what each recipe's step takes on devices that need not be there."""

from collections.abc import Iterable, Iterator

from jaxcnn.config import TrainConfig
from jaxcnn.devices.topologies import over_topology
from jaxcnn.laboratory.dry_run import with_fewest_micro_batches


def memory_lines(recipes: Iterable[TrainConfig], topology: str) -> Iterator[str]:
    """Yields a Markdown table of the memory of each recipe's step on a topology, in MB on each device.

    Args:
        recipes: the recipes to compile.
        topology: the name of the topology, as for `over_topology`.

    Raises:
        UserError: there is no such topology, or a recipe does not fit there.
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
