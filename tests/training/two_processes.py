"""Two processes on this machine that find each other over its loopback address."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
DEVICES = 2
"""Of each of the two processes, simulated."""


def start_two(commands, folder):
    """Runs a command in each of two processes that are to find each other; returns their exit codes and outputs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    flags = re.sub(r"(device_count)=\d+", rf"\1={DEVICES}", os.environ["XLA_FLAGS"])
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_CPU_COLLECTIVES_IMPLEMENTATION": "gloo", "PYTHONPATH": ROOT}
    processes = []
    for number, command in enumerate(commands):
        joining = ["--coordinator-address", f"127.0.0.1:{port}", "--num-processes", "2", "--process-id", str(number)]
        arguments = [sys.executable, *map(str, command), *joining, "--heartbeat-timeout-seconds", "5"]
        with (folder / f"output{number}.txt").open("w") as output:
            processes.append(subprocess.Popen(arguments, env=environment, stdout=output, stderr=subprocess.STDOUT))
    try:
        codes = [process.wait(timeout=300) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return codes, [(folder / f"output{number}.txt").read_text() for number in range(2)]
