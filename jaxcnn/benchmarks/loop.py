"""The speed of a recipe's training loop beside a plain PyTorch loop over the same network and the same images."""

import itertools
import sys
from collections.abc import Callable

import jax
import numpy as np

from jaxcnn.assembly import Assembly, assemble
from jaxcnn.benchmarks.rounds import Rounds
from jaxcnn.config import SGD, TrainConfig, from_json, to_json
from jaxcnn.contenders import race, serve
from jaxcnn.errors import UserError
from jaxcnn.training.step import zero_totals


def compare_with_pytorch(config: TrainConfig, *, rounds: int, steps: int) -> Rounds[str]:
    """Times the recipe's whole training step (gather, augmentation, update), and PyTorch's on ready tensors.

    The two take turns, each in its own process, so that other work of the machine slows both alike. PyTorch has its
    images as normalized float32 tensors in memory and does not augment them; ours gathers uint8 images and augments
    them as the recipe says.

    Args:
        config: a recipe for ``lenet``, on one device.
        rounds: the turns that each takes.
        steps: the updates in a turn.

    Returns:
        The images a second of ``jaxcnn`` and ``pytorch`` in each round.

    Raises:
        UserError: PyTorch is not installed, or the recipe is not one of ``lenet``.
    """
    if config.model.name != "lenet":
        raise UserError(f"the PyTorch side of this comparison is LeNet, and the recipe trains {config.model.name}")
    commands = {name: [__name__, name, to_json(config)] for name in ("jaxcnn", "pytorch")}
    taken = race(commands, rounds=rounds, steps=steps, warm_up=steps)
    return Rounds(taken).map(lambda seconds: config.data.batch_size / seconds)


def _our_loop(assembly: Assembly) -> Callable[[int], None]:
    state, totals = assembly.make_state(), zero_totals()
    batches = assembly.train_feed.training(0, 1 << 30)
    step = assembly.train_step.lower(state, totals, next(batches)).compile()  # as `fit` does

    def run(steps: int) -> None:
        nonlocal state, totals
        for batch in itertools.islice(batches, steps):
            state, totals = step(state, totals, batch)
        jax.block_until_ready(state)

    return run


def _pytorch_loop(assembly: Assembly) -> Callable[[int], None]:
    try:
        import torch
    except ImportError:
        raise UserError("PyTorch is not installed: install torch beside jaxcnn to compare with it") from None
    from torch import nn

    config, train, settings = assembly.config, assembly.data.train, assembly.config.optimizer
    if train.images is None or train.labels is None:
        raise UserError("the PyTorch side keeps all images in memory: set data.residence to device")
    if not isinstance(settings, SGD):
        raise UserError("the PyTorch side of this comparison is SGD, and the recipe has another optimizer")
    size, channels = train.image_shape[0], train.image_shape[2]
    side = ((size - 4) // 2 - 4) // 2
    layers = [nn.Conv2d(channels, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)]
    layers += [nn.Flatten(), nn.Linear(16 * side * side, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(84, assembly.config.model.num_classes))
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=settings.learning_rate / 100,  # takes as long, and does not diverge without the warm-up
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        nesterov=settings.nesterov,
    )
    mean, std = (np.array(each, np.float32) for each in (config.normalization.mean, config.normalization.std))
    images = torch.from_numpy(((train.images / np.float32(255) - mean) / std).transpose(0, 3, 1, 2).copy())
    labels = torch.from_numpy(train.labels.astype(np.int64))
    batches = train.training_batches(config.seed, config.data.batch_size, 0, 1 << 30)

    def run(steps: int) -> None:
        for batch in itertools.islice(batches, steps):
            index = torch.from_numpy(batch["index"].astype(np.int64))
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images[index]), labels[index]).backward()
            optimizer.step()

    return run


if __name__ == "__main__":
    loop = {"jaxcnn": _our_loop, "pytorch": _pytorch_loop}[sys.argv[1]]
    serve(loop(assemble(from_json(sys.argv[2]))))
