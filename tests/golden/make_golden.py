"""Makes the golden files beside it from PyTorch: run in an environment that has torch (made with 2.13.0).

    python tests/golden/make_golden.py

sgd.npz: parameters over 50 steps of torch.optim.SGD on a small least-squares problem, for several settings.
batch_norm.npz: outputs, gradients and running statistics of torch.nn.BatchNorm2d over three training batches.
cross_entropy.npz: torch.nn.functional.cross_entropy with label smoothing.
pools.npz: torch.nn.functional.max_pool2d and avg_pool2d with ceil mode.
classical.npz: logits of the paper's AlexNet, VGG A-LRN and VGG C, narrow, written in PyTorch's functions.
adaptive_pools.npz: torch.nn.functional.adaptive_avg_pool2d and its gradient, to fewer pixels, as many and more.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))
from tests.parity import parity_weights  # noqa: E402

SGD_SETTINGS = {
    "plain": {"lr": 0.05},
    "momentum": {"lr": 0.02, "momentum": 0.9},
    "decay": {"lr": 0.02, "momentum": 0.9, "weight_decay": 0.1},
    "nesterov": {"lr": 0.02, "momentum": 0.9, "weight_decay": 0.1, "nesterov": True},
}


def sgd():
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((50, 16, 5)).astype(np.float32)
    targets = rng.standard_normal((50, 16, 3)).astype(np.float32)
    kernel, bias = rng.standard_normal((5, 3)).astype(np.float32), rng.standard_normal(3).astype(np.float32)
    saved = {"inputs": inputs, "targets": targets, "kernel": kernel, "bias": bias}
    for name, settings in SGD_SETTINGS.items():
        parameters = [torch.tensor(kernel, requires_grad=True), torch.tensor(bias, requires_grad=True)]
        optimizer = torch.optim.SGD(parameters, **settings)
        path = []
        for x, y in zip(torch.tensor(inputs), torch.tensor(targets), strict=True):
            optimizer.zero_grad()
            ((x @ parameters[0] + parameters[1] - y) ** 2).mean().backward()
            optimizer.step()
            path.append(np.concatenate([leaf.detach().numpy().ravel() for leaf in parameters]))
        saved[f"path_{name}"] = np.stack(path)
    np.savez_compressed(HERE / "sgd.npz", **saved)


def batch_norm():
    rng = np.random.default_rng(1)
    # A mean far from zero is where the one-pass variance goes wrong.
    images = (rng.standard_normal((3, 4, 5, 6, 7)) * 2 + 300).astype(np.float32)
    layer = torch.nn.BatchNorm2d(7)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(rng.uniform(0.5, 1.5, 7)))
        layer.bias.copy_(torch.tensor(rng.standard_normal(7)))
    saved = {"images": images, "scale": layer.weight.detach().numpy(), "bias": layer.bias.detach().numpy()}
    cotangent = rng.standard_normal((4, 5, 6, 7)).astype(np.float32)
    for batch in images:
        x = torch.tensor(batch.transpose(0, 3, 1, 2), requires_grad=True)
        layer.zero_grad()
        y = layer(x)
        y.backward(torch.tensor(cotangent.transpose(0, 3, 1, 2)))
    saved |= {"cotangent": cotangent, "outputs": y.detach().numpy().transpose(0, 2, 3, 1)}
    saved |= {"images_gradient": x.grad.numpy().transpose(0, 2, 3, 1), "scale_gradient": layer.weight.grad.numpy()}
    saved |= {"mean": layer.running_mean.numpy(), "var": layer.running_var.numpy()}
    saved["evaluated"] = layer.eval()(x).detach().numpy().transpose(0, 2, 3, 1)
    np.savez_compressed(HERE / "batch_norm.npz", **saved)


def cross_entropy():
    rng = np.random.default_rng(2)
    logits, labels = (rng.standard_normal((20, 7)) * 5).astype(np.float32), rng.integers(0, 7, 20)
    saved = {"logits": logits, "labels": labels.astype(np.int32)}
    for smoothing in (0.0, 0.1):
        loss = torch.nn.functional.cross_entropy(
            torch.tensor(logits), torch.tensor(labels), reduction="none", label_smoothing=smoothing
        )
        saved[f"losses_{smoothing}"] = loss.numpy()
    np.savez_compressed(HERE / "cross_entropy.npz", **saved)


def pools():
    images = np.random.default_rng(3).standard_normal((2, 11, 12, 3)).astype(np.float32)
    saved = {"images": images}
    x = torch.tensor(images.transpose(0, 3, 1, 2))
    for ceil in (False, True):
        saved[f"max_{ceil}"] = torch.nn.functional.max_pool2d(x, 3, 2, 1, ceil_mode=ceil)
        for count in (False, True):
            saved[f"average_{ceil}_{count}"] = torch.nn.functional.avg_pool2d(x, 3, 2, 1, ceil, count)
    saved = {name: np.asarray(value) for name, value in saved.items()}
    np.savez_compressed(
        HERE / "pools.npz", **{name: a if name == "images" else a.transpose(0, 2, 3, 1) for name, a in saved.items()}
    )


def adaptive_pools():
    rng = np.random.default_rng(4)
    saved = {}
    for (height, width), size in (((13, 9), (6, 6)), ((14, 6), (7, 6)), ((3, 5), (7, 7)), ((1, 8), (6, 3))):
        images = rng.standard_normal((2, height, width, 3)).astype(np.float32)
        cotangent = rng.standard_normal((2, *size, 3)).astype(np.float32)
        x = torch.tensor(images.transpose(0, 3, 1, 2), requires_grad=True)
        y = torch.nn.functional.adaptive_avg_pool2d(x, size)
        y.backward(torch.tensor(cotangent.transpose(0, 3, 1, 2)))
        arrays = {"outputs": y.detach().numpy(), "gradient": x.grad.numpy()}
        arrays = {key: value.transpose(0, 2, 3, 1) for key, value in arrays.items()}
        arrays |= {"images": images, "cotangent": cotangent}
        saved |= {f"{height}x{width}/{key}": value for key, value in arrays.items()}
    np.savez_compressed(HERE / "adaptive_pools.npz", **saved)


class Weights(dict):
    """Makes the weights that are asked for, by name and shape."""

    def get(self, name, *shape):
        self[name] = shape
        return torch.tensor(parity_weights.weight(name, shape))


def conv(weights, name, x, features, kernel, groups=1, **options):
    kernel = weights.get(f"{name}.weight", features, x.shape[1] // groups, kernel, kernel)
    return F.conv2d(x, kernel, weights.get(f"{name}.bias", features), groups=groups, **options)


def dense(weights, name, x, features):
    name = f"classifier.{name}"
    return F.linear(x, weights.get(f"{name}.weight", features, x.shape[1]), weights.get(f"{name}.bias", features))


def local_response_norm(x):
    return F.local_response_norm(x, 5, alpha=5e-4, beta=0.75, k=2.0)  # PyTorch divides alpha by 5, the paper does not


def alexnet_2012(weights, x):
    x = F.relu(conv(weights, "conv1", x, 6, 11, stride=4))
    x = F.max_pool2d(local_response_norm(x), 3, 2)
    x = F.relu(conv(weights, "conv2", x, 16, 5, groups=2, padding=2))
    x = F.max_pool2d(local_response_norm(x), 3, 2)
    x = F.relu(conv(weights, "conv3", x, 24, 3, padding=1))
    x = F.relu(conv(weights, "conv4", x, 24, 3, groups=2, padding=1))
    x = F.relu(conv(weights, "conv5", x, 16, 3, groups=2, padding=1))
    x = F.adaptive_avg_pool2d(F.max_pool2d(x, 3, 2), 6).flatten(1)
    x = F.relu(dense(weights, "fc6", x, 20))
    x = F.relu(dense(weights, "fc7", x, 20))
    return dense(weights, "fc8", x, 10)


def vgg(weights, x, stage_sizes, third_kernel, activation, normalized):
    for stage, (size, features) in enumerate(zip(stage_sizes, (2, 4, 8, 16, 16), strict=True), 1):
        for index in range(1, size + 1):
            kernel = third_kernel if index == 3 else 3
            x = activation(conv(weights, f"conv{stage}_{index}", x, features, kernel, padding=kernel // 2))
            if normalized and stage == 1:
                x = local_response_norm(x)
        x = F.max_pool2d(x, 2)
    x = F.adaptive_avg_pool2d(x, 7).flatten(1)
    for name in ("fc6", "fc7"):
        x = activation(dense(weights, name, x, 128))
    return dense(weights, "fc8", x, 10)


def classical():
    networks = {
        "alexnet_2012": (alexnet_2012, (227, 100)),
        "vgg11_lrn": (lambda weights, x: vgg(weights, x, (1, 1, 2, 2, 2), 3, F.relu, True), (70,)),
        "vgg16_1x1": (lambda weights, x: vgg(weights, x, (2, 2, 3, 3, 3), 1, torch.tanh, False), (70,)),
    }
    saved = {}
    for name, (network, sizes) in networks.items():
        for size in sizes:
            weights = Weights()
            # Large inputs, so that the sums of squares weigh in the normalization.
            saved[f"{name}/{size}"] = network(weights, 100 * torch.tensor(parity_weights.images(2, size))).numpy()
        saved[f"{name}/state_dict"] = json.dumps(weights)
    np.savez_compressed(HERE / "classical.npz", **saved)


if __name__ == "__main__":
    sgd()
    batch_norm()
    cross_entropy()
    pools()
    adaptive_pools()
    classical()
