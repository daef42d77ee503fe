"""How the lowerings of a convolution are chosen: what ``"auto"`` follows, and tables of single convolutions.

``"auto"`` follows, on a CPU, a table of rules (`jaxcnn.ops.rules`): the one that ``jaxcnn tune`` has made for this
processor, where there is one, and else the one that comes with this package for vectors as wide as this processor's.
Inside `following` it is another one, such as that which a run has begun with.
"""

import contextlib
import contextvars
import dataclasses
import functools
import json
import logging
from collections.abc import Generator
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp

from jaxcnn import strict_json
from jaxcnn.errors import UserError
from jaxcnn.ops.backend import several_devices
from jaxcnn.ops.conv_shape import ConvShape
from jaxcnn.ops.lowerings import LOWERINGS, LoweringName
from jaxcnn.ops.rules import Lowerings, Rules, built_in
from jaxcnn.ops.symbolic import at_most, is_symbolic
from jaxcnn.paths import cache_folder
from jaxcnn.processor import this_processor
from jaxcnn.types import Json, JsonObject

_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class TunedLowerings:
    """The lowerings that a tuner found to be fastest on one machine; shapes it did not measure follow the rules."""

    winners: tuple[tuple[ConvShape, Lowerings], ...]

    def find(self, shape: ConvShape) -> Lowerings | None:
        """Returns the fastest lowerings for this shape, or None if it was not measured."""
        return next((names for known, names in self.winners if known == shape), None)


@functools.cache
def read_tuned(path: Path) -> TunedLowerings:
    """Reads what `write_tuned` wrote.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is not a table of tuned lowerings.
    """
    try:
        rows = [
            (ConvShape(**_tuples(row["shape"])), Lowerings(**row["lowerings"])) for row in json.loads(path.read_text())
        ]
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not a table of tuned lowerings ({error})") from None
    for _, lowerings in rows:
        _check(lowerings)
    return TunedLowerings(tuple(rows))


def write_tuned(path: Path, tuned: TunedLowerings) -> None:
    """Writes a table as JSON, one convolution a line."""
    rows = [{"shape": dataclasses.asdict(shape), "lowerings": names._asdict()} for shape, names in tuned.winners]
    path.write_text("[\n" + ",\n".join(map(strict_json.dumps, rows)) + "\n]\n")


def _tuples(value: Json) -> Json:
    """Returns a value that was read from JSON with its lists as tuples."""
    match value:
        case dict():
            return {key: _tuples(item) for key, item in value.items()}
        case list():
            return tuple(map(_tuples, value))
    return value


Lowering = Literal["auto", LoweringName] | Lowerings | TunedLowerings


def choose(lowering: Lowering, backend: str, shape: ConvShape) -> Lowerings:
    """Resolves the ``lowering`` that `conv2d` was given into three names.

    Where height or width is a symbol, this is followed as far as symbols allow: see `_for_symbols`.

    Raises:
        ValueError: there is no such lowering.
    """
    lowerings = _resolve(lowering, backend, shape)
    return _for_symbols(lowerings, shape) if is_symbolic(shape.images[1:3]) else lowerings


def _for_symbols(lowerings: Lowerings, shape: ConvShape) -> Lowerings:
    """Returns the lowerings that can be used where height or width is a symbol.

    Slices need sizes of which is known that the taps lie inside; otherwise everything is left to XLA. XLA's convolution
    has no gradients in JAX where its padding would be a symbol, and Toeplitz matrices, tiles and loops over rows need
    numbers.
    """
    if not shape.sliceable:
        return Lowerings("xla", "xla", "xla")
    forward, *gradients = _without_rows(lowerings)
    input_gradient, weight_gradient = (name if name in ("gemm", "shift") else "shift" for name in gradients)
    return Lowerings("xla" if forward in ("toeplitz", "winograd") else forward, input_gradient, weight_gradient)


def _without_rows(lowerings: Lowerings) -> Lowerings:
    """Returns lowerings with another in the place of ``rows``."""
    return Lowerings(*("shift" if name == "rows" else name for name in lowerings))


def _resolve(lowering: Lowering, backend: str, shape: ConvShape) -> Lowerings:
    if isinstance(lowering, TunedLowerings):
        return lowering.find(shape) or automatic(backend, shape)
    if lowering == "auto":
        return automatic(backend, shape)
    return _check(lowering if isinstance(lowering, Lowerings) else Lowerings(lowering, lowering, lowering))


def _check(lowerings: Lowerings) -> Lowerings:
    for name in lowerings:
        if name not in LOWERINGS:
            raise ValueError(f"there is no lowering {name!r}: choose from {', '.join(['auto', *LOWERINGS])}")
    return lowerings


def automatic(backend: str, shape: ConvShape) -> Lowerings:
    """Returns the lowerings that ``auto`` stands for.

    The convolution libraries of other backends than the CPU choose an algorithm themselves, where they have one.
    """
    if backend != "cpu":
        return Lowerings("xla", "xla", "shift" if backend == "gpu" and _missed_by_cudnn(shape) else "xla")
    lowerings = followed().choose(shape)
    # Where a batch is split over several devices, a loop over its images would first gather all of them on each.
    return _without_rows(lowerings) if several_devices() else lowerings


def _missed_by_cudnn(shape: ConvShape) -> bool:
    """Returns whether a weight gradient is one for which cuDNN has no algorithm made for it.

    For ConvNeXt's 7x7 of 256 images of 7x7 pixels and 768 channels, in bfloat16 on an H200, its best takes 4.4 ms, and
    `shift` 0.8. For its images of 14x14 and 384 channels cuDNN takes 0.2 ms, and `shift` 1.0 (docs/performance.md).
    """
    small = all(at_most(shape.images[1 + axis], shape.kernel[axis]) for axis in (0, 1))
    return shape.depthwise and shape.taps > 1 and small and jnp.dtype(shape.dtype).itemsize == 2


_rules: contextvars.ContextVar[Rules | None] = contextvars.ContextVar("rules", default=None)


def followed() -> Rules:
    """Returns the table of rules that ``"auto"`` follows on a CPU: that of `following`, or else this machine's own."""
    if rules := _rules.get():
        return rules
    try:
        tuned = _tuned(tuned_file())
    except UserError:  # whoever runs this has no home folder, and so nothing in it
        tuned = None
    return tuned or built_in(this_processor().vector_bits)


@contextlib.contextmanager
def following(rules: Rules) -> Generator[None]:
    """Makes ``"auto"`` follow a table of rules in everything that is traced inside."""
    token = _rules.set(rules)
    try:
        yield
    finally:
        _rules.reset(token)


def tuned_file() -> Path:
    """Returns where ``jaxcnn tune`` keeps the rules of this processor and this version of JAX."""
    return cache_folder() / "lowerings" / f"{this_processor().key}-jax{jax.__version__}.json"


@functools.cache
def _tuned(path: Path) -> Rules | None:
    """Returns the rules that a machine was tuned to; None where there are none, or none that can be followed."""
    try:
        about, rules = read_rules(path.read_text())
        if about.get("lowerings") != list(LOWERINGS):
            raise ValueError("other lowerings were measured than there are")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        _LOG.warning("%s is not followed (%s): run `jaxcnn tune` again", path, error)
        return None
    return rules


def read_rules(text: str) -> tuple[JsonObject, Rules]:
    """Returns a table of rules, and before it the facts about it, from a text that `rules_text` made.

    Raises:
        ValueError: it is something else.
    """
    whole = json.loads(text)
    if not (isinstance(whole, dict) and isinstance(whole.get("about"), dict) and "rules" in whole):
        raise ValueError("it is no table of rules")
    return whole["about"], Rules.from_json(whole["rules"])


def rules_text(about: JsonObject, rules: Rules) -> str:
    """Returns a table of rules and the facts about it as JSON, with each rule on a line of its own."""
    lines = [
        f'  "{kind}": {{\n'
        + ",\n".join(f'   "{direction}": {strict_json.dumps(tree)}' for direction, tree in trees.items())
        + "\n  }"
        for kind, trees in rules.to_json().items()
    ]
    head = strict_json.dumps(about, indent=1).replace("\n", "\n ")
    return f'{{\n "about": {head},\n "rules": {{\n' + ",\n".join(lines) + "\n }\n}\n"
