"""The step of ``evaluate`` and ``predict`` beside PyTorch's inference."""

import dataclasses
import json
import sys
from collections.abc import Callable

import numpy as np

from jaxcnn.benchmarks.rounds import Rounds
from jaxcnn.benchmarks.training import Job
from jaxcnn.contenders import Memory, commands_of, one_at_a_time, serve, weighed

CONTENDERS = {
    "jaxcnn": "our step, as `jaxcnn evaluate` and `predict` run it, from uint8 images",
    "jaxcnn_folded": "the same with --fold-batch-norm",
    "pytorch": "torchvision's network (timm's NASNet), eager, channels_last, inference_mode, from normalized images",
    "pytorch_compiled": "the same under torch.compile",
}


def compare_inference(
    job: Job, contenders: list[str], *, rounds: int, steps: int
) -> tuple[Rounds[str], dict[str, Memory]]:
    """Returns each contender's images a second in each round, and the memory of each.

    Args:
        job: the network and its images.
        contenders: names of `CONTENDERS`.
        rounds: the turns that each takes.
        steps: the batches in a turn.

    Raises:
        UserError: there is no such contender, or one cannot run here; the last line of its error is quoted.
    """
    commands = commands_of(__name__, contenders, CONTENDERS, dataclasses.asdict(job))
    taken = weighed(commands, rounds=rounds, steps=steps, warm_up=2)
    return Rounds(taken.seconds).map(lambda seconds: job.batch / seconds), taken.memory


def inference_step(job: Job, *, folded: bool) -> Callable[[int], None]:
    """Returns a function that computes the scores of a number of batches, as ``evaluate`` does.

    Args:
        job: the network and its images.
        folded: whether batch normalization is folded into the convolutions before it.
    """
    from jaxcnn.devices.memory import keep_for_answers, settled

    keep_for_answers()  # as `evaluate` and `predict` do
    import jax
    import jax.numpy as jnp

    from jaxcnn.benchmarks.networks import untrained
    from jaxcnn.devices.parallel import DataParallel
    from jaxcnn.networks import make_evaluator

    network = untrained(job.model)
    network = dataclasses.replace(network, model=network.model.clone(dtype=jnp.dtype(job.dtype)))
    if folded:
        network = network.folded()
    parallel = DataParallel.over(jax.devices()[:1])  # as PyTorch, which takes one
    evaluator = make_evaluator(network.model, network.normalization, parallel)
    variables = parallel.put_everywhere(jax.tree.map(np.asarray, network.variables))
    images = np.random.default_rng(0).integers(0, 256, (job.batch, job.size, job.size, network.data.channels), np.uint8)
    numbers = np.arange(job.batch, dtype=np.int32)
    batch = parallel.put_batch({"image": images, "label": numbers, "index": numbers, "mask": numbers >= 0})
    with one_at_a_time():
        jax.block_until_ready(evaluator.answers(variables, batch))  # which compiles it

    def run(steps: int) -> None:
        jax.block_until_ready([settled(evaluator.answers(variables, batch)) for _ in range(steps)])

    return run


def _pytorch_inference(job: Job, *, compiled: bool) -> Callable[[int], None]:
    import torch

    from jaxcnn.benchmarks.pytorch_networks import pytorch_network

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = pytorch_network(job.model).eval().to(device, memory_format=torch.channels_last)
    if compiled:
        model = torch.compile(model)
    images = np.random.default_rng(0).standard_normal((job.batch, 3, job.size, job.size), np.float32)
    images = torch.from_numpy(images).to(device, memory_format=torch.channels_last)
    narrow = job.dtype == "bfloat16"

    def run(steps: int) -> None:
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=narrow):
            for _ in range(steps):
                model(images)
        if device == "cuda":
            torch.cuda.synchronize()

    return run


if __name__ == "__main__":
    contender, this_job = sys.argv[1], Job(**json.loads(sys.argv[2]))
    if contender.startswith("pytorch"):
        serve(_pytorch_inference(this_job, compiled=contender == "pytorch_compiled"))
    else:
        serve(inference_step(this_job, folded=contender == "jaxcnn_folded"))
