"""Writes the report of runs: one page of HTML that holds everything it shows and needs no network.

    jaxcnn report RUN_FOLDER                      writes report.html into the run folder
    jaxcnn report RUN_FOLDER RUN_FOLDER ...       several runs over one another, and what their configs differ in
    jaxcnn report RUN_FOLDER ... --out FILE
    jaxcnn report RUN_FOLDER ... --watch          serves the page on this machine while the runs train

`jaxcnn train` writes it too, at the end of a run. The network's answers to the evaluation images are computed once for
a checkpoint, on the devices of this process, and kept in the run folder's details/. With --watch nothing is measured
beside a training, and no accelerator is touched.
"""

import dataclasses
from pathlib import Path

import jax
import tyro

from jaxcnn.errors import UserError
from jaxcnn.pictures.report.page import write_report
from jaxcnn.pictures.report.serving import Followed, server_of


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Write the report of one run, or of several over one another."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """The run folders."""
    out: Path | None = None
    """The file to write; by default report.html in the folder of the one run, or here where there are several."""
    watch: bool = False
    """Serve the page on this machine's loopback address, and have it follow the training, until Ctrl-C."""
    port: int = 6007
    """The port of --watch; 0 takes any that is free."""


def main(arguments: list[str]) -> int:
    """Returns the exit code."""
    chosen = tyro.cli(Arguments, prog="jaxcnn report", args=arguments)
    if not chosen.watch:
        print(write_report(chosen.runs, chosen.out))
        return 0
    if chosen.out is not None:
        raise UserError("--watch serves the page and --out writes it: give one of them")
    jax.config.update("jax_platforms", "cpu")  # the accelerators are the training's
    with server_of(Followed(chosen.runs).text, chosen.port) as server:
        print(f"http://127.0.0.1:{server.server_port}/ shows the page on this machine; Ctrl-C ends it", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()
    return 0
