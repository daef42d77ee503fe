"""Makes optimizers.npz: twenty steps of each optimizer on a small least-squares problem, in double precision.

AdamW and the clipping of gradients are PyTorch's; RMSProp (TensorFlow 1's) and LAMB (arXiv:1904.00962, algorithm 2, and
timm's way, which scales only decayed parameters) are written out from their definitions.

    python tests/golden/make_optimizer_golden.py
"""

from pathlib import Path

import numpy as np
import torch

STEPS = 20
HERE = Path(__file__).parent


def gradients(kernel, bias, x, y):
    error = x @ kernel + bias - y
    return 2 * x.T @ error / error.size, 2 * error.sum(0) / error.size


def adamw(params, batches, clip_norm=None):
    tensors = [torch.tensor(leaf, requires_grad=True) for leaf in params]
    groups = [{"params": tensors[:1], "weight_decay": 0.1}, {"params": tensors[1:], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=0.02, betas=(0.8, 0.99), eps=1e-3)
    for x, y in batches:
        for tensor, gradient in zip(tensors, gradients(*(t.detach().numpy() for t in tensors), x, y), strict=True):
            tensor.grad = torch.tensor(gradient)
        if clip_norm:
            torch.nn.utils.clip_grad_norm_(tensors, clip_norm)
        optimizer.step()
        yield [tensor.detach().numpy().copy() for tensor in tensors]


def rmsprop(params, batches):
    params = [leaf.copy() for leaf in params]
    squares, velocities = [np.ones_like(leaf) for leaf in params], [np.zeros_like(leaf) for leaf in params]
    for x, y in batches:
        for i, gradient in enumerate(gradients(*params, x, y)):
            if i == 0:
                gradient = gradient + 0.1 * params[0]
            squares[i] = 0.8 * squares[i] + 0.2 * gradient**2
            velocities[i] = 0.9 * velocities[i] + 0.02 * gradient / np.sqrt(squares[i] + 0.1)
        params = [leaf - velocity for leaf, velocity in zip(params, velocities, strict=True)]
        yield params


def lamb(params, batches, scaled):
    params = [leaf.copy() for leaf in params]
    means, squares = [np.zeros_like(leaf) for leaf in params], [np.zeros_like(leaf) for leaf in params]
    for t, (x, y) in enumerate(batches, 1):
        updated = []
        for i, gradient in enumerate(gradients(*params, x, y)):
            means[i] = 0.8 * means[i] + 0.2 * gradient
            squares[i] = 0.99 * squares[i] + 0.01 * gradient**2
            update = means[i] / (1 - 0.8**t) / (np.sqrt(squares[i] / (1 - 0.99**t)) + 1e-3)
            update += (0.1 if i == 0 else 0.0) * params[i]
            norm = np.linalg.norm(params[i])
            ratio = norm / np.linalg.norm(update) if norm and (scaled == "all" or i == 0) else 1.0
            updated.append(params[i] - 0.02 * ratio * update)
        params = updated
        yield params


def main():
    rng = np.random.default_rng(0)
    inputs, targets = rng.standard_normal((STEPS, 16, 5)), rng.standard_normal((STEPS, 16, 3))
    # A bias of zeros: LAMB's ratio has to do without its norm at first.
    params = rng.standard_normal((5, 3)), np.zeros(3)
    batches = list(zip(inputs, targets, strict=True))
    paths = {
        "adamw": adamw(params, batches),
        "adamw_clipped": adamw(params, batches, 0.3),
        "rmsprop": rmsprop(params, batches),
        "lamb": lamb(params, batches, "all"),
        "lamb_timm": lamb(params, batches, "decayed"),
    }
    saved = {
        f"path_{name}": np.stack([np.concatenate([k.ravel(), b]) for k, b in path]) for name, path in paths.items()
    }
    np.savez_compressed(HERE / "optimizers.npz", inputs=inputs, targets=targets, kernel=params[0], **saved)


if __name__ == "__main__":
    main()
