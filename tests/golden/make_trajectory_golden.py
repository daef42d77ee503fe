"""Makes trajectory.npz beside it: a hundred steps of ResNet-18 under torchvision's recipe, by PyTorch.

    python tests/golden/make_trajectory_golden.py

Needs torch and torchvision (made with 2.13.0 and 0.28, CPU). The network is torchvision's with the stem for small
images and an eighth of the width; weights and batches are `parity_weights`' and `trajectory`'s. Warm-up, cosine, decay
groups and moving average are put together as in torchvision's references/classification/train.py and utils.py, out of
PyTorch's own parts. Stored are the loss of each step, and of every parameter and running statistic at the end, and of
its moving average, two numbers: see `trajectory.numbers`.

All in double precision. In float32 rounding grows along the path, and two right implementations part.
"""

import copy
import json
import sys
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))
from tests.golden import trajectory  # noqa: E402
from tests.parity import parity_weights  # noqa: E402

# torchvision's compiled operators may be missing beside a CPU build of PyTorch; classification does not use them.
library = torch.library.Library("torchvision", "DEF")
library.define("nms(Tensor a, Tensor b, float c) -> Tensor")
library.define("qnms(Tensor a, Tensor b, float c) -> Tensor")
from torchvision.models.resnet import BasicBlock, ResNet  # noqa: E402


class NarrowResNet18(ResNet):
    """torchvision's ResNet-18 of another width, with a 3x3 stem and no max pooling."""

    def __init__(self):
        super().__init__(BasicBlock, [2, 2, 2, 2], num_classes=trajectory.CLASSES)
        self.conv1 = torch.nn.Conv2d(3, trajectory.WIDTH, 3, padding=1, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(trajectory.WIDTH)
        self.maxpool = torch.nn.Identity()
        self.fc = torch.nn.Linear(8 * trajectory.WIDTH, trajectory.CLASSES)

    def _make_layer(self, block, planes, *arguments, **options):
        if planes == 64:
            self.inplanes = trajectory.WIDTH
        return super()._make_layer(block, planes * trajectory.WIDTH // 64, *arguments, **options)


def train(model: torch.nn.Module, dtype: torch.dtype):
    """Yields the loss of each step; then the averaged model."""
    model = model.train().to(dtype)
    norms = [p for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d) for p in m.parameters()]
    others = [p for p in model.parameters() if all(p is not norm for norm in norms)]
    groups = [{"params": norms, "weight_decay": 0.0}, {"params": others, "weight_decay": trajectory.WEIGHT_DECAY}]
    optimizer = torch.optim.SGD(groups, lr=trajectory.LEARNING_RATE, momentum=trajectory.MOMENTUM)
    warmup = trajectory.WARMUP_EPOCHS
    schedule = torch.optim.lr_scheduler.SequentialLR(
        optimizer,
        [
            torch.optim.lr_scheduler.LinearLR(optimizer, trajectory.WARMUP_START, total_iters=warmup),
            torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, trajectory.EPOCHS - warmup),
        ],
        milestones=[warmup],
    )
    rescaling = trajectory.BATCH * trajectory.EMA_STEPS / trajectory.EPOCHS
    decay = 1 - min(1.0, (1 - trajectory.EMA_DECAY) * rescaling)
    average = torch.optim.swa_utils.AveragedModel(
        model, avg_fn=lambda old, new, count: decay * old + (1 - decay) * new, use_buffers=True
    )
    criterion = torch.nn.CrossEntropyLoss(label_smoothing=trajectory.LABEL_SMOOTHING)
    losses, rates = [], []
    for epoch in range(trajectory.EPOCHS):
        for index in range(trajectory.STEPS_PER_EPOCH):
            images, labels = trajectory.batch(epoch * trajectory.STEPS_PER_EPOCH + index)
            loss = criterion(model(torch.from_numpy(images).to(dtype)), torch.from_numpy(labels))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            rates.append(optimizer.param_groups[0]["lr"])
            if index % trajectory.EMA_STEPS == 0:
                average.update_parameters(model)
                if epoch < warmup:
                    average.n_averaged.fill_(0)
        schedule.step()
    return losses, rates, average.module


def main():
    model = NarrowResNet18()
    shapes = {key: list(value.shape) for key, value in model.state_dict().items()}
    model.load_state_dict({key: torch.from_numpy(parity_weights.weight(key, s)) for key, s in shapes.items()})
    single = train(copy.deepcopy(model), torch.float32)[0]
    losses, rates, averaged = train(model, torch.float64)
    off = max(abs(a / b - 1) for a, b in zip(single, losses, strict=True))
    print(f"losses {losses[0]:.4f} to {losses[-1]:.4f}; PyTorch's own in float32 differ by up to {off:.1e}")
    found = {
        kind: {key: trajectory.numbers(key, value.numpy()) for key, value in each.state_dict().items() if value.ndim}
        for kind, each in (("raw", model), ("ema", averaged))
    }
    np.savez_compressed(
        HERE / "trajectory.npz",
        losses=losses,
        learning_rates=rates,
        state_dict=json.dumps(shapes),
        **{kind: json.dumps(numbers) for kind, numbers in found.items()},
    )


if __name__ == "__main__":
    main()
