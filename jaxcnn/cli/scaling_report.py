"""Predicts how a recipe scales over chips that need not be there, and checks such predictions where they can be.

    jaxcnn scaling-report RECIPE --topology h100:8 [--out FILE.json] [--plot FILE.png] [--OPTION VALUE ...]
    jaxcnn scaling-report RECIPE --topology v5e:2x2 --batch-norm-scopes global local --optimizer-states whole sharded
    jaxcnn scaling-report RECIPE --topology h100:8 --watts 1300 --price-per-hour 4 --input-file input.txt
    jaxcnn scaling-report RECIPE --topology h100:8 --published        beside runs that others published
    jaxcnn scaling-report RECIPE --simulated 1 2 4 8                   measured on simulated devices of this machine
    jaxcnn scaling-report RECIPE --measured                            measured on the devices that there are

The step is compiled for a few numbers of images on a chip, for minutes each, and what predictions need of it is kept in
--out, so that the same command compiles nothing again. Options of the recipe override it: --model.dtype bfloat16.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

import jax
import tyro

from jaxcnn.cli.shared import named_recipe, with_options
from jaxcnn.config import TrainConfig
from jaxcnn.config.command_line import with_chosen_kinds
from jaxcnn.config.options import NonNegativeFloat, PositiveFloat, PositiveInt, option_group
from jaxcnn.devices.machines import machine, machine_of
from jaxcnn.devices.topologies import over_topology
from jaxcnn.errors import UserError
from jaxcnn.laboratory.communication import most_chips, seconds
from jaxcnn.laboratory.kept_steps import Kept
from jaxcnn.laboratory.measured_scaling import measure, powers_of_two
from jaxcnn.laboratory.scaling_lines import Prices, measured_lines, report_lines, simulated_lines
from jaxcnn.laboratory.scaling_report import Chips, ScalingReport, Variant, make_report
from jaxcnn.laboratory.simulated import compare
from jaxcnn.pictures.pyplot import import_pyplot
from jaxcnn.pictures.scaling import plot_scaling
from jaxcnn.text import escaped

CHIPS = tuple(1 << power for power in range(13))
"""The numbers of chips that are predicted for by default, as far as figures of the machine reach."""


@option_group
class Arguments:
    """Predict how a recipe scales over chips that need not be there."""

    config: Annotated[TrainConfig, tyro.conf.arg(name="")]
    topology: str | None = None
    """The chips to compile for, two at least, such as h100:8 or v5e:2x2; predictions are for any number of them."""
    machine: str | None = None
    """The machine whose figures are taken, by default that of the topology; the program stays the topology's."""
    chips: tuple[PositiveInt, ...] = ()
    """The numbers of chips to predict for; by default 1, 2, 4 and so on to 4096, or to as many as the machine's links
    join where no bandwidth of its hosts' network is known."""
    images_per_chip: tuple[PositiveInt, ...] = ()
    """Numbers of images on each chip, for weak scaling; by default the recipe's batch over the topology's chips."""
    images: tuple[PositiveInt, ...] = ()
    """Numbers of images in all, for strong scaling; by default the recipe's batch. No chip gets more than the most of
    --images-per-chip."""
    batch_norm_scopes: tuple[str, ...] = ()
    """Scopes of batch normalization to compare: global, local, or numbers of chips; by default the recipe's."""
    optimizer_states: tuple[Literal["whole", "sharded"], ...] = ()
    """Whether the optimizer's state is whole on each chip, or sharded (ZeRO-1); by default as in the recipe."""
    compiled: Annotated[int, tyro.conf.arg(metavar="N")] = 3
    """The most numbers of images that are compiled for each; the computation of others is interpolated."""
    kernel_floor: NonNegativeFloat = 0.0
    """The least time of a kernel, in microseconds: a few where a host starts each by itself. The bound has none."""
    published: tyro.conf.FlagCreatePairsOff[bool] = False
    """Predict the runs that others published of this network and machine, too, and print the errors."""
    simulated: tuple[PositiveInt, ...] = ()
    """Numbers of simulated devices of this machine to measure on, such as 1 2 4 8."""
    measured: tyro.conf.FlagCreatePairsOff[bool] = False
    """Measure on 1, 2, 4, ... of the devices that there are."""
    watts: PositiveFloat | None = None
    """The power that a chip draws, with its part of the host, in watts: the energy is printed."""
    price_per_hour: PositiveFloat | None = None
    """The price of a chip for an hour, in any currency: the price is printed."""
    input_rate: PositiveFloat | None = None
    """The images a second that a host's input delivers, as jaxcnn benchmark input measures them."""
    input_file: Path | None = None
    """A file with what jaxcnn benchmark input has printed, in place of --input-rate: jaxcnn's own line is taken."""
    out: Path | None = None
    """The JSON file to write, which also keeps what was compiled."""
    plot: Path | None = None
    """The picture (.png, .svg or .pdf) to draw; it needs the extra plot."""


def main(arguments: list[str]) -> int:
    """Returns the exit code."""
    name, recipe, prog, options = named_recipe("jaxcnn scaling-report", "[RECIPE]", arguments)
    chosen = with_options(Arguments(with_chosen_kinds(recipe.config, options)), prog, options)
    if not (chosen.topology or chosen.simulated or chosen.measured):
        raise UserError("scaling-report has nothing to do: give --topology, as in h100:8, --simulated or --measured")
    if chosen.plot and not chosen.topology:
        raise UserError("--plot draws what is predicted for many chips: give --topology too, as in h100:8")
    if chosen.plot:
        import_pyplot()  # it is missed before minutes of compilation, and not after them
    prices = Prices(chosen.watts, chosen.price_per_hour, _input_rate(chosen))
    kept, found = Kept(chosen.out), {}
    if chosen.topology:
        report = _report(chosen, chosen.topology, kept)
        found |= report.to_json()
        kept.write(found)
        _print(report_lines(report, prices))
        if chosen.plot:
            title = f"{chosen.config.name} on {report.chips.machine.title}"
            plot_scaling(report.series, [each.run for each in report.against], title, chosen.plot)
            print(f"{chosen.plot} shows it")
    counts = powers_of_two(len(jax.devices())) if chosen.measured else []
    for weak in (True, False):
        if chosen.simulated:
            steps = compare(name, chosen.config, chosen.simulated, weak=weak)
            found[f"simulated_{'weak' if weak else 'strong'}"] = [each.to_json() for each in steps]
            _print(simulated_lines(steps, weak))
        if chosen.measured:
            steps = measure(chosen.config, counts, machine_of(jax.devices()[0]), weak=weak)
            found[f"measured_{'weak' if weak else 'strong'}"] = [each.to_json() for each in steps]
            _print(measured_lines(steps, weak))
    kept.write(found)
    return 0


def _report(chosen: Arguments, topology: str, kept: Kept) -> ScalingReport:
    devices = over_topology(topology)
    known = machine_of(next(iter(devices.mesh.devices.flat)))
    assert known is not None  # topologies are of machines
    if devices.mesh.size < 2 * known.devices_per_chip:
        raise UserError(
            f"--topology {topology} is a single chip, which exchanges nothing: name one of two at least, such as "
            f"{known.name}:{'2' if known.kind == 'gpu' else '2x2'}"
        )
    chips = Chips(devices, topology, machine(chosen.machine) if chosen.machine else known)
    most = most_chips(chips.machine)
    counts = set(chosen.chips or (each for each in CHIPS if most is None or each <= most))
    seconds("all-reduce", 1, max(counts), chips.machine)  # refuses what is not known before minutes of compilation
    config, count = chosen.config, devices.mesh.size // known.devices_per_chip
    scopes = [_scope(each) for each in chosen.batch_norm_scopes] or [config.parallel.batch_norm]
    sharded = [each == "sharded" for each in chosen.optimizer_states] or [config.parallel.shard_optimizer]
    if chosen.compiled < 2:
        raise UserError(f"--compiled {chosen.compiled} is too few to interpolate between: give 2 at least")
    return make_report(
        config,
        chips,
        kept,
        counts=sorted(counts),
        weak=chosen.images_per_chip or (max(1, config.data.batch_size // count),),
        strong=chosen.images or (config.data.batch_size,),
        variants=[Variant(scope, shard) for scope in scopes for shard in sharded],
        published=chosen.published,
        compiled=chosen.compiled,
        kernel_floor=1e-6 * chosen.kernel_floor,
    )


def _scope(text: str) -> Literal["global", "local"] | int:
    if text in ("global", "local"):
        return text
    if text.isdecimal() and int(text):
        return int(text)
    raise UserError(f"--batch-norm-scopes {escaped(text)} is no scope: give global, local, or a number of chips")


def _input_rate(chosen: Arguments) -> float | None:
    """Returns the images a second of a host's input, if the user has given them."""
    file = chosen.input_file
    if file is None:
        return chosen.input_rate
    if chosen.input_rate is not None:
        raise UserError("--input-rate and --input-file say the same thing twice: give one of them")
    try:
        found = re.search(r"^jaxcnn +([\d,]+) images/s", file.read_text(encoding="utf-8"), re.MULTILINE)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text in UTF-8"
        raise UserError(
            f"--input-file {file} cannot be read ({reason}): keep there what the benchmark prints"
        ) from None
    rate = float(found[1].replace(",", "")) if found else 0.0
    if not rate:
        raise UserError(
            f"--input-file {file} has no line such as `jaxcnn 1,234 images/s`: keep there what `jaxcnn benchmark "
            "input` prints"
        )
    return rate


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        print(line, flush=True)
    print()
