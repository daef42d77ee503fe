"""Times the lowerings of convolutions on this machine, so that training follows what is fastest here.

    jaxcnn tune                                               what ``auto`` follows on this processor from now on
    jaxcnn tune --network NAME --batch COUNT --out FILE       one network's convolutions, for --model.lowering FILE

Without a network a fixed small set of convolutions is timed, as much of it as --seconds allow. Rules for all
convolutions are fitted to it and kept in lowerings/ of JAXCNN_CACHE (~/.cache/jaxcnn), for this processor, its
cores and the version of JAX. What is already begun goes on with the rules that it began with. The tuner is for CPUs.
"""

import dataclasses
import datetime
from pathlib import Path
from typing import Annotated, Literal

import jax
import tyro

from jaxcnn.benchmarks.convolutions import tune_network
from jaxcnn.benchmarks.rounds import SPREAD
from jaxcnn.benchmarks.session import session
from jaxcnn.benchmarks.tuning import fit, fixed_set, geometric_mean, time_fixed_set
from jaxcnn.devices.memory import keep_freed_memory
from jaxcnn.errors import UserError, writing
from jaxcnn.ops.lowering_rules import rules_text, tuned_file, write_tuned
from jaxcnn.ops.lowerings import LOWERINGS
from jaxcnn.ops.rules import DIRECTIONS, built_in, differing, words
from jaxcnn.paths import replace_whole
from jaxcnn.processor import this_processor


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Find the fastest lowerings of convolutions on this machine."""

    network: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """The network whose convolutions are timed, each of them; by default a fixed set is, for all networks."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """The file to write; without a network, by default the one that ``auto`` follows."""
    batch: int = 16
    """The number of images on each device, for a network."""
    size: int | None = None
    """The height and width of the input in pixels, for a network; by default its own."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """The data type of the computation, for a network."""
    rounds: int = 9
    """The turns that each lowering takes."""
    seconds: float = 95
    """The time after which no further convolution of the fixed set is begun."""
    spread: float = SPREAD
    """The largest ratio of the third to the first quartile of the rounds of a convolution that counts."""


def main(arguments: list[str]) -> int:
    """Returns the exit code."""
    chosen = tyro.cli(Arguments, prog="jaxcnn tune", args=arguments)
    if chosen.network is not None and chosen.out is None:
        raise UserError(f"the lowerings of {chosen.network} are kept in a file of their own: name one by --out")
    if jax.default_backend() != "cpu" and chosen.network is None:
        raise UserError(
            f"auto has rules for CPUs, and JAX computes on the {jax.default_backend()} here: set JAX_PLATFORMS=cpu"
        )
    keep_freed_memory()
    with session():
        if chosen.network is not None and chosen.out is not None:
            tuned = tune_network(chosen.network, chosen.batch, chosen.size, chosen.dtype, rounds=chosen.rounds)
            write_tuned(chosen.out, tuned)
            print(f"{chosen.out}: the fastest lowerings of {len(tuned.winners)} convolutions, {', '.join(DIRECTIONS)}")
        else:
            _tune(chosen, chosen.out or tuned_file())
    return 0


def _tune(chosen: Arguments, file: Path) -> None:
    timings = time_fixed_set(fixed_set(), rounds=chosen.rounds, seconds=chosen.seconds, say=print)
    steady = [timing for timing in timings if timing.comparison.spread <= chosen.spread]
    if len(steady) < len(timings):
        left = len(timings) - len(steady)
        print(
            f"{left} of {len(timings)} timings are left out, because their rounds differ by more than {chosen.spread}"
        )
    before = built_in(this_processor().vector_bits)
    found = fit(steady, before)
    about = {
        "processor": str(this_processor()),
        "date": datetime.date.today().isoformat(),
        "jax": jax.__version__,
        "measured": f"{len(steady)} timings of the fixed set",
        "lowerings": list(LOWERINGS),
    }
    with writing(file, "name another file by --out"):
        file.parent.mkdir(parents=True, exist_ok=True)
        replace_whole(file, rules_text(about, found))
    for (kind, direction), (old, new) in differing(before, found).items():
        print(f"{kind}, {direction.replace('_', ' ')}: {words(new)}  (instead of: {words(old)})")
    print(
        f"{file}: auto takes {geometric_mean(steady, found):.2f} times as long as the fastest lowerings of these "
        f"convolutions, and {geometric_mean(steady, before):.2f} times with the rules of this package"
    )
