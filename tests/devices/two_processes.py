"""Two processes on this machine that find each other over its loopback address."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
DEVICES = 2
"""The number of simulated devices of each of the two processes."""


def joining(launcher, number, port):
    """Returns what tells a process which the others are: arguments, and variables of the environment."""
    match launcher:
        case "hand":
            return ["--coordinator-address", f"127.0.0.1:{port}", "--num-processes", "2", "--process-id", number], {}
        case "slurm":
            told = {"JOB_ID": 1, "STEP_NODELIST": "127.0.0.1", "NTASKS": 2, "PROCID": number, "LOCALID": number}
            variables = {f"SLURM_{name}": value for name, value in told.items()}
        case "open mpi":
            told = {"SIZE": 2, "RANK": number, "LOCAL_RANK": number}
            variables = {f"OMPI_COMM_WORLD_{name}": value for name, value in told.items()}
            variables["OMPI_MCA_orte_hnp_uri"] = "1531576320.0;tcp://127.0.0.1:34911"
    return ["--distributed", "auto"], variables | {"JAX_COORDINATOR_PORT": port}


def start_two(commands, folder, launcher="hand"):
    """Runs a command in each of two processes that are to find each other; returns their exit codes and outputs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    flags = re.sub(r"(device_count)=\d+", rf"\1={DEVICES}", os.environ["XLA_FLAGS"])
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_CPU_COLLECTIVES_IMPLEMENTATION": "gloo", "PYTHONPATH": ROOT}
    processes = []
    for number, command in enumerate(commands):
        options, variables = joining(launcher, number, port)
        arguments = map(str, [sys.executable, *command, *options, "--heartbeat-timeout-seconds", "5"])
        variables = environment | {name: str(value) for name, value in variables.items()}
        with (folder / f"output{number}.txt").open("w") as output:
            processes.append(subprocess.Popen([*arguments], env=variables, stdout=output, stderr=subprocess.STDOUT))
    try:
        codes = [process.wait(timeout=300) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return codes, [(folder / f"output{number}.txt").read_text() for number in range(2)]
