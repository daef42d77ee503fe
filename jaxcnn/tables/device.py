"""The rows of docs/performance.md that `jaxcnn benchmark device` has measured."""

from collections.abc import Iterator

from jaxcnn.types import JsonObject


def device_lines(kept: JsonObject) -> Iterator[str]:
    """Yields what was measured as Markdown for docs/performance.md.

    Args:
        kept: what `jaxcnn benchmark device` keeps in its file.
    """
    about, done = kept["about"], kept["done"]
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    sizes = about["sizes"]
    yield f"{about['devices']} x {about['device']}, {kept['date']}, {versions}"
    yield ""
    yield from _exactness_lines(done)
    yield from _step_lines(done, sizes)
    if "input" in done:
        rates = ", ".join(f"{name} {rate:,.0f}" for name, rate in done["input"].items())
        yield f"Input, images/s: {rates}."
        yield ""
    yield from _augmentation_lines(done)
    yield from _convolution_lines(done)
    for name, reason in kept["failed"].items():
        yield f"{name} was not measured: {reason}."


def _rows(done: JsonObject, kind: str) -> list[tuple[str, JsonObject]]:
    """Returns the network and the result of each measurement of a kind."""
    named = [(*name.partition(" "), result) for name, result in done.items()]
    return [(network, result) for found, _, network, result in named if found == kind]


def _exactness_lines(done: JsonObject) -> Iterator[str]:
    rows = _rows(done, "exactness")
    if not rows:
        return
    yield "Differences from the CPU, as shares; the CPU's own are after a change of the last bit of each pixel:"
    yield ""
    columns = [f"{of}, {how}" for how in ("float32", "by default", "the CPU's own") for of in ("logits", "gradients")]
    yield f"| network | {' | '.join(columns)} |"
    yield f"| {' | '.join(['---'] * (1 + len(columns)))} |"
    for network, found in rows:
        cells = [f"{found[how][of]:.1e}" for how in ("highest", "default", "cpu") for of in ("logits", "gradients")]
        yield f"| {network} | {' | '.join(cells)} |"
    yield ""


def _step_lines(done: JsonObject, sizes: JsonObject) -> Iterator[str]:
    rows = _rows(done, "step")
    if not rows:
        return
    against = sizes["against"]
    titles = [f"{name} | ratio" for name in against]
    yield (
        f"The full training step, images/s ({sizes['dtype']}, batch {sizes['batch']}, {sizes['size']} pixels), and the "
        "bound by bytes and operations:"
    )
    yield ""
    yield f"| network | jaxcnn | {' | '.join([*titles, 'bound', 'share of it'])} |"
    yield f"| {' | '.join(['---'] * (4 + 2 * len(against)))} |"
    for network, found in rows:
        rates, bound = found["images_per_second"], found["bound"]
        ours = rates["jaxcnn"]
        cells = [f"{ours:,.0f}"]
        for name in against:
            cells += [f"{rates[name]:,.0f}", f"{ours / rates[name]:.2f}"] if name in rates else ["not measured", ""]
        cells += [f"{bound:,.0f}", f"{ours / bound:.2f}"] if bound else ["not known", ""]
        yield f"| {network} | {' | '.join(cells)} |"
    yield ""


def _augmentation_lines(done: JsonObject) -> Iterator[str]:
    for network, found in _rows(done, "augmentation"):
        yield f"| augmentation | ms | share of {network}'s step ({1e3 * found['step']:.1f} ms) |"
        yield "| --- | --- | --- |"
        for name, seconds in found["seconds"].items():
            yield f"| {name} | {1e3 * seconds:.2f} | {seconds / found['step']:.1%} |"
        yield ""


def _convolution_lines(done: JsonObject) -> Iterator[str]:
    for network, found in _rows(done, "convolutions"):
        yield f"| convolution of {network} | direction | ms, by lowering (* is auto) | auto over best |"
        yield "| --- | --- | --- | --- |"
        for row in found["rows"]:
            shape = row["shape"]
            (rows, columns, _, features), (_, height, width, channels) = shape["kernel"], shape["images"]
            name = f"{row['occurrences']}x {rows}x{columns}, {height}x{width}, {channels} to {features}"
            times = ", ".join(
                f"{lowering}{'*' if lowering == row['auto'] else ''} {1e3 * seconds:.2f}"
                for lowering, seconds in sorted(row["seconds"].items(), key=lambda item: item[1])
            )
            yield f"| {name} | {row['direction'].replace('_', ' ')} | {times} | {row['ratio']:.2f} |"
        yield ""
