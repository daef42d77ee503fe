"""Makes training_*.npz beside it from torchvision and timm: one training step of one network of each family.

    python tests/golden/make_training_golden.py

Needs torch, torchvision and timm (made with 2.13.0, 0.28 and 1.0.31, CPU). Weights and images are `parity_weights`'
functions of names and shapes; nothing is dropped out. Stored are the loss, and of every parameter's gradient and every
running statistic after the step two numbers: its norm, and its product with a fixed array (`probe`), which tells where
in the array the values are.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))
from tests.parity import parity_weights  # noqa: E402

# torchvision's compiled operators may be missing beside a CPU build of PyTorch; classification does not use them.
library = torch.library.Library("torchvision", "DEF")
library.define("nms(Tensor a, Tensor b, float c) -> Tensor")
library.define("qnms(Tensor a, Tensor b, float c) -> Tensor")
import torchvision  # noqa: E402

NETWORKS = {
    # name: batch, size, weight of auxiliary losses, options of torchvision's builder
    "alexnet": (4, 127, 0, {"dropout": 0.0}),
    "vgg11_bn": (4, 64, 0, {"dropout": 0.0}),
    "googlenet": (4, 96, 0.3, {"dropout": 0.0, "dropout_aux": 0.0, "init_weights": False}),
    "inception_v3": (2, 299, 0.4, {"dropout": 0.0, "init_weights": False}),
    "resnet18": (4, 64, 0, {}),
    "resnext50_32x4d": (4, 64, 0, {}),
    "densenet121": (4, 64, 0, {}),
    "regnet_y_400mf": (4, 64, 0, {}),
    "efficientnet_b0": (4, 64, 0, {"dropout": 0.0, "stochastic_depth_prob": 0.0}),
    "convnext_tiny": (4, 64, 0, {"stochastic_depth_prob": 0.0}),
    "nasnet_a_large": (2, 67, 0, {"drop_rate": 0.0}),
}

NARROW_NASNET = {"stem_size": 12, "num_features": 192}
"""The network is timm's nasnetalarge in all but width, because its own would take gigabytes."""


def build(name: str, options: dict) -> torch.nn.Module:
    if name != "nasnet_a_large":
        return torchvision.models.get_model(name, **options)
    from timm.models.nasnet import NASNetALarge

    return NASNetALarge(**NARROW_NASNET, **options)


def numbers(name, array):
    """The norm of an array, and its product with the probe of its name over the probe's norm."""
    probe = parity_weights.probe(name, array.shape)
    return [float(np.linalg.norm(array)), float(np.vdot(array, probe) / np.linalg.norm(probe))]


def training(name, batch, size, auxiliary_weight, options):
    model = build(name, options).train()
    shapes = {key: list(value.shape) for key, value in model.state_dict().items()}
    model.load_state_dict({key: torch.from_numpy(parity_weights.weight(key, s)) for key, s in shapes.items()})
    # In double precision: then what differs is the other side's rounding alone.
    model = model.double()
    images = torch.from_numpy(parity_weights.images(batch, size)).double()
    labels = torch.arange(batch) * 7
    outputs = model(images)
    logits, *auxiliary = [outputs] if isinstance(outputs, torch.Tensor) else outputs
    cross_entropy = torch.nn.functional.cross_entropy
    loss = cross_entropy(logits, labels) + auxiliary_weight * sum(cross_entropy(each, labels) for each in auxiliary)
    loss.backward()
    gradients = {key: numbers(key, value.grad.numpy()) for key, value in model.named_parameters()}
    statistics = {key: numbers(key, value.numpy()) for key, value in model.named_buffers() if "running" in key}
    found = {"state_dict": shapes, "gradients": gradients, "statistics": statistics}
    np.savez_compressed(
        HERE / f"training_{name}.npz",
        batch=batch,
        size=size,
        auxiliary_weight=auxiliary_weight,
        loss=loss.item(),
        **{key: json.dumps(value) for key, value in found.items()},
    )
    print(name, loss.item())


if __name__ == "__main__":
    for chosen in sys.argv[1:] or NETWORKS:
        training(chosen, *NETWORKS[chosen])
