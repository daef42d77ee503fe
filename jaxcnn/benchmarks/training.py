"""The full training step beside the same step in plain Flax and in PyTorch."""

import contextlib
import dataclasses
import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from jaxcnn.benchmarks.rounds import Rounds
from jaxcnn.contenders import Memory, commands_of, one_at_a_time, serve, weighed

if TYPE_CHECKING:  # a contender without JAX does not import it
    import jax

    from jaxcnn.devices.feed import Batch
    from jaxcnn.training.state import TrainState
    from jaxcnn.training.step import Totals, TrainStep

CONTENDERS = {
    "jaxcnn": "our step, as `jaxcnn train` runs it",
    "xla": "the same with every convolution under lowering='xla'",
    "flax": "the same network on flax.linen's own Conv, BatchNorm and pooling, the C library's allocator as it comes",
    "flax_kept": "the same as flax, with freed memory kept as ours is",
    "pytorch": "torchvision's network (timm's NASNet), eager, channels_last",
    "pytorch_compiled": "the same under torch.compile",
}


@dataclasses.dataclass(frozen=True)
class Job:
    """The step that every contender takes: forward, backward, SGD with momentum, batch statistics, on one batch."""

    model: str
    batch: int
    size: int
    dtype: str


def compare(job: Job, contenders: list[str], *, rounds: int, steps: int) -> Rounds[str]:
    """Returns each contender's images a second in each round: see `compare_with_memory`."""
    return compare_with_memory(job, contenders, rounds=rounds, steps=steps)[0]


def compare_with_memory(
    job: Job, contenders: list[str], *, rounds: int, steps: int
) -> tuple[Rounds[str], dict[str, Memory]]:
    """Returns each contender's images a second in each round, as a mapping the median by contender; and its memory.

    Args:
        job: the step.
        contenders: names of `CONTENDERS`.
        rounds: the turns that each takes.
        steps: the updates in a turn.

    Raises:
        UserError: there is no such contender, or one cannot run here; the last line of its error is quoted.
    """
    commands = commands_of(__name__, contenders, CONTENDERS, dataclasses.asdict(job))
    taken = weighed(commands, rounds=rounds, steps=steps, warm_up=2)
    return Rounds(taken.seconds).map(lambda seconds: job.batch / seconds), taken.memory


def jax_step(job: Job, *, keep_memory: bool, use_plain_flax: bool, lowering: str) -> Callable[[int], None]:
    """Returns a function that takes a number of training steps, all on one batch.

    Args:
        job: the step.
        keep_memory: whether freed memory is kept for the next step: see `keep_freed_memory`.
        use_plain_flax: whether layers are flax.linen's.
        lowering: the lowering of the convolutions.
    """
    from jaxcnn.devices.memory import keep_freed_memory, leave_compiling_behind, settled

    if keep_memory:
        keep_freed_memory()
    import jax

    from jaxcnn.plain_flax import plain_flax

    layers = plain_flax if use_plain_flax else contextlib.nullcontext
    step, make_state, totals, batch = _jax_parts(job, lowering)
    with layers(), one_at_a_time():
        state = jax.jit(make_state)()
        compiled = step.lower(state, totals, batch).compile()
        leave_compiling_behind()
        state, totals = jax.block_until_ready(compiled(state, totals, batch))

    def run(steps: int) -> None:
        nonlocal state, totals
        for _ in range(steps):
            state, totals = settled(compiled(state, totals, batch))
        jax.block_until_ready(state)

    return run


def compiled_step(job: Job) -> "jax.stages.Compiled":
    """Returns our step, compiled for the devices of this process and not run."""
    import jax

    step, make_state, totals, batch = _jax_parts(job, "auto")
    return step.lower(jax.eval_shape(make_state), totals, batch).compile()


def _jax_parts(job: Job, lowering: str) -> "tuple[TrainStep, Callable[[], TrainState], Totals, Batch]":
    """Returns the jitted step, the function that makes its state, zero totals, and the batch."""
    import jax
    import jax.numpy as jnp

    from jaxcnn.config import SGD
    from jaxcnn.devices.feed import Batch, images_and_labels
    from jaxcnn.models.registry import create_model
    from jaxcnn.training.losses import softmax_cross_entropy
    from jaxcnn.training.optimizer import make_optimizer
    from jaxcnn.training.state import create_state
    from jaxcnn.training.step import make_train_step, zero_totals

    model = create_model(job.model, dtype=jnp.dtype(job.dtype), lowering=lowering)
    _, optimizer = make_optimizer(SGD(learning_rate=1e-3), 1000.0, 100_000)
    images, labels = (jnp.asarray(array) for array in _batch(job))
    batch: Batch = {"image": images, "label": labels}
    step = make_train_step(
        apply=model.apply,
        prepare=images_and_labels,
        loss=softmax_cross_entropy,
        optimizer=optimizer,
        dropout_key=jax.random.key(1),
    )
    shape = (job.size, job.size, 3)
    return step, lambda: create_state(model, optimizer, jax.random.key(0), shape), zero_totals(), batch


def _batch(job: Job) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    images = rng.standard_normal((job.batch, job.size, job.size, 3), np.float32)
    return images, rng.integers(0, 1000, job.batch).astype(np.int32)


def _pytorch_step(job: Job, *, compiled: bool) -> Callable[[int], None]:
    import torch

    from jaxcnn.benchmarks.pytorch_networks import pytorch_network

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = pytorch_network(job.model).to(device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, weight_decay=1e-4)
    if compiled:
        model = torch.compile(model)
    images, labels = _batch(job)
    images = torch.from_numpy(images.transpose(0, 3, 1, 2)).to(device, memory_format=torch.channels_last)
    labels = torch.from_numpy(labels.astype(np.int64)).to(device)
    narrow = job.dtype == "bfloat16"

    def run(steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            with torch.autocast(device, torch.bfloat16, enabled=narrow):
                logits = model(images)
                logits = logits if isinstance(logits, torch.Tensor) else logits[0]  # beside auxiliary ones
                loss = torch.nn.functional.cross_entropy(logits, labels)
            loss.backward()
            optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()

    return run


def _make_step(name: str, job: Job) -> Callable[[int], None]:
    if name.startswith("pytorch"):
        return _pytorch_step(job, compiled=name == "pytorch_compiled")
    return jax_step(
        job,
        keep_memory=name != "flax",
        use_plain_flax=name.startswith("flax"),
        lowering="xla" if name == "xla" else "auto",
    )


if __name__ == "__main__":
    serve(_make_step(sys.argv[1], Job(**json.loads(sys.argv[2]))))
