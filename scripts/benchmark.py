#!/usr/bin/env python3
"""Measures speed, as ratios in one run.

benchmark.py loop [RECIPE]: the training loop of a LeNet recipe beside a plain PyTorch loop over the same network.
"""

import dataclasses
import sys
from pathlib import Path

import tyro

from jaxcnn.analysis.loops import compare_with_pytorch
from jaxcnn.errors import run_script
from jaxcnn.runs import load_config

MNIST_RECIPE = Path(__file__).parent.parent / "configs" / "lenet_mnist.py"


def loop(
    recipe: tyro.conf.Positional[Path] = MNIST_RECIPE, *, data_dir: str | None = None, rounds: int = 9, steps: int = 100
) -> None:
    """Images a second of a LeNet recipe's training loop, and of a plain PyTorch loop with the data in tensors.

    Args:
        recipe: what to train.
        data_dir: where tfds keeps its prepared data sets.
        rounds: turns each; medians are printed.
        steps: updates a turn.
    """
    config = load_config(recipe)
    if data_dir:
        config = dataclasses.replace(config, data=dataclasses.replace(config.data, data_dir=data_dir))
    found = compare_with_pytorch(config, rounds=rounds, steps=steps)
    for name, rates in found.rounds.items():
        print(f"{name:8} {found.median(name):10,.0f} images/s  ({min(rates):,.0f} to {max(rates):,.0f})")
    print(f"ratio    {found.median('jaxcnn') / found.median('pytorch'):10.2f}")


def main(arguments: list[str]) -> int:
    """Returns the exit code."""
    tyro.extras.subcommand_cli_from_dict({"loop": loop}, args=arguments)
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
