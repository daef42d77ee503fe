"""A hundred steps of ResNet-18 under torchvision's recipe, step for step as PyTorch takes them.

The golden is PyTorch's, from the same weights and batches (golden/make_trajectory_golden.py).
"""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcnn
from jaxcnn.config import SGD, EMAConfig, LossConfig, ScheduleConfig
from jaxcnn.models.registry import get_variant
from jaxcnn.training.ema import make_average
from jaxcnn.training.losses import make_loss
from jaxcnn.training.optimizer import make_optimizer
from jaxcnn.training.state import TrainState
from jaxcnn.training.step import make_train_step, zero_totals
from tests.golden import trajectory
from tests.parity import parity_weights
from tests.parity.parity_variables import variables_of

TOLERANCE = 1e-4


def test_a_hundred_steps_equal_pytorchs():
    with np.load(Path(__file__).parent.parent / "golden" / "trajectory.npz") as stored:
        losses, rates = stored["losses"], stored["learning_rates"]
        shapes, raw, ema = (json.loads(str(stored[key])) for key in ("state_dict", "raw", "ema"))
    variant = get_variant("resnet18")
    # In double precision: rounding errors grow along the path, and PyTorch's own losses in float32 come to differ by
    # a fifth from those of its double precision. Ours differ by 1e-7, because the logits are float32 whatever happens.
    model = jaxcnn.create_model("resnet18", num_classes=trajectory.CLASSES, dtype=jnp.float64, lowering="gemm")
    model = model.clone(width=trajectory.WIDTH, stem="cifar")
    size = (1, trajectory.SIZE, trajectory.SIZE, 3)

    def load(make):
        state = {key: make(key, tuple(shape)) for key, shape in shapes.items()}
        return variables_of(model, np.zeros(size, np.float32), variant.rules, state)

    recipe = SGD(
        learning_rate=trajectory.LEARNING_RATE,
        momentum=trajectory.MOMENTUM,
        weight_decay=trajectory.WEIGHT_DECAY,
        decayed="not_norms",
        schedule=ScheduleConfig(
            warmup_epochs=trajectory.WARMUP_EPOCHS, warmup_start=trajectory.WARMUP_START, moves="every_epoch"
        ),
    )
    weights = load(parity_weights.weight)
    with jax.enable_x64(True):
        learning_rate, optimizer = make_optimizer(recipe, trajectory.STEPS_PER_EPOCH, trajectory.STEPS)
        np.testing.assert_allclose([learning_rate(step) for step in range(trajectory.STEPS)], rates, rtol=1e-12)
        step = make_train_step(
            apply=model.apply,
            prepare=lambda batch: batch,
            loss=make_loss(LossConfig(label_smoothing=trajectory.LABEL_SMOOTHING)),
            optimizer=optimizer,
            dropout_key=jax.random.key(0),
            average=make_average(
                EMAConfig(
                    decay=trajectory.EMA_DECAY, every_steps=trajectory.EMA_STEPS, rescaled=True, in_warmup="copy"
                ),
                batch_size=trajectory.BATCH,
                epochs=trajectory.EPOCHS,
                warmup_steps=trajectory.WARMUP_EPOCHS * trajectory.STEPS_PER_EPOCH,
            ),
        )
        weights = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), weights)
        state = TrainState(
            jnp.zeros((), jnp.int32), weights["params"], weights["batch_stats"], optimizer.init(weights["params"])
        )
        state = state.replace(ema=jax.tree.map(jnp.copy, state.variables))
        found = []
        for number in range(trajectory.STEPS):
            images, labels = trajectory.batch(number)
            batch = images.transpose(0, 2, 3, 1).astype(np.float64), labels.astype(np.int32)
            state, totals = step(state, zero_totals(), batch)
            found.append(totals["loss"] / totals["images"])
        found = np.array(found)
    np.testing.assert_allclose(found, losses, rtol=TOLERANCE)

    # PyTorch's name of every leaf of ours, and its probe in our layout, by loading them as if weights.
    keys = list(shapes)
    numbered = load(lambda key, shape: np.full(shape, keys.index(key), np.float32))
    probes = load(parity_weights.probe)
    for variables, expected in ((state.variables, raw), (state.ema, ema)):
        checked = set()
        for leaf, number, probe in zip(*map(jax.tree.leaves, (variables, numbered, probes)), strict=True):
            key = keys[int(np.ravel(number)[0])]
            norm, product = expected[key]
            leaf, probe = np.asarray(leaf), np.asarray(probe, np.float64)
            assert np.linalg.norm(leaf) == pytest.approx(norm, rel=TOLERANCE), key
            assert np.vdot(leaf, probe) / np.linalg.norm(probe) == pytest.approx(product, abs=TOLERANCE * norm), key
            checked.add(key)
        assert checked == set(expected)
