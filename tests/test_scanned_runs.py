"""Runs of networks whose equal blocks are a loop: trained, gone on with, and used as any other."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import rich.console

from jaxcnn import assembly, loading, runs
from jaxcnn.config import LAMB, SGD, AdamW, CheckpointConfig, ConfigError, FinetuneConfig, ModelConfig, RMSProp
from jaxcnn.devices.parallel import DataParallel
from jaxcnn.features.layers import layers_of
from jaxcnn.loading import restore_state
from jaxcnn.models.registry import list_models, register
from jaxcnn.models.resnet import BasicBlock, ResNet
from jaxcnn.models.scanned import is_stacked
from jaxcnn.models.variant import Variant
from jaxcnn.networks import make_model
from jaxcnn.recipes import load_config
from jaxcnn.training.optimizer import make_optimizer
from jaxcnn.weights.layouts import separated_variables, stacked_variables

if "tiny_deep" not in list_models():
    deep = {"block_type": BasicBlock, "stage_sizes": (3,), "width": 4, "stem": "cifar", "shortcut": "identity"}
    register(Variant("tiny_deep", "tiny_deep", ResNet, deep, input_size=8, channels=1, num_classes=10))

LOOP = "stage1_block1-2"


@pytest.fixture(autouse=True, scope="module")
def one():
    """One device."""
    with pytest.MonkeyPatch.context() as patch:
        device = DataParallel.over(jax.devices()[:1])
        patch.setattr(DataParallel, "over_all_devices", lambda: device)
        yield device


def config(*, scan, **changes):
    model = ModelConfig(name="tiny_deep", scan=scan)
    tiny = load_config(Path(__file__).parent / "recipes" / "tiny.py")
    return dataclasses.replace(tiny, epochs=0.6, model=model, checkpoint=CheckpointConfig(), **changes)


def train(options, folder):
    return runs.train(options, folder, console=rich.console.Console(quiet=True))


@pytest.fixture(scope="module")
def scanned(tmp_path_factory):
    """A run whose blocks are a loop, and its result."""
    folder = tmp_path_factory.mktemp("scanned") / "run"
    return folder, train(config(scan=True), folder)


@pytest.mark.slow
def test_a_trained_network_has_separate_blocks(scanned):
    folder, result = scanned
    state = restore_state(folder).state
    assert LOOP in state.params
    network = loading.load(folder)
    assert not network.model.scan
    assert {"stage1_block1", "stage1_block2"} <= network.variables["params"].keys()
    measured = network.evaluate(top_k=tuple(result.errors))
    assert measured.errors == result.errors
    names = [layer.name for layer in layers_of(network.model, network.variables, (8, 8, 1))]
    assert "stage1_block2/conv2" in names


@pytest.mark.slow
@pytest.mark.parametrize("scan", [False, True], ids=["separate", "loops"])
def test_a_run_starts_from_the_weights_of_either(scanned, scan):
    folder, _ = scanned
    found = loading.initial_variables(
        dataclasses.replace(
            config(scan=scan, init_from=str(folder)), model=ModelConfig(name="tiny_deep", scan=scan, num_classes=10)
        )
    )
    trained = restore_state(folder).state.variables
    jax.tree.map(np.testing.assert_array_equal, found, trained if scan else separated_variables(trained))


@pytest.mark.slow
def test_frozen_stages_and_rates_by_stage(scanned, tmp_path):
    finetune = FinetuneConfig(frozen=("stem", "*norm*"), rate_decay=0.5)
    options = config(scan=True, init_from=str(scanned[0]), finetune=finetune)
    made = assembly.assemble(options)
    assert f"{LOOP}/norm1/scale" in made.partition.frozen
    assert f"{LOOP}/norm1/mean" in made.partition.frozen_statistics
    assert made.partition.rates[f"{LOOP}/conv1/kernel"] == 0.5
    train(options, tmp_path / "run")
    before, after = (restore_state(folder).state for folder in (scanned[0], tmp_path / "run"))
    for tree in ("params", "batch_stats"):
        jax.tree.map(
            np.testing.assert_array_equal, getattr(after, tree)[LOOP]["norm1"], getattr(before, tree)[LOOP]["norm1"]
        )
    assert np.any(after.params[LOOP]["conv1"]["kernel"] != before.params[LOOP]["conv1"]["kernel"])


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(SGD(weight_decay=0.1, decayed="kernels"), id="sgd"),
        pytest.param(SGD(weight_decay=0.1, decayed="not_norms", clip_norm=0.1), id="clipped", marks=pytest.mark.slow),
        pytest.param(RMSProp(weight_decay=0.1, decayed="kernels"), id="rmsprop", marks=pytest.mark.slow),
        pytest.param(AdamW(weight_decay=0.1, decayed="kernels"), id="adamw", marks=pytest.mark.slow),
        pytest.param(LAMB(weight_decay=0.1, decayed="kernels"), id="lamb", marks=pytest.mark.slow),
        pytest.param(
            LAMB(weight_decay=0.1, decayed="kernels", scaled="decayed"), id="lamb_decayed", marks=pytest.mark.slow
        ),
    ],
)
def test_optimizers_treat_each_block_as_if_it_were_by_itself(options):
    separate, loops = (make_model(config(scan=scan).model, 10) for scan in (False, True))
    shapes = [
        jax.eval_shape(lambda key, model=model: model.init(key, jnp.zeros((1, 8, 8, 1))), jax.random.key(0))["params"]
        for model in (separate, loops)
    ]
    random = np.random.RandomState(0)
    params, gradients = (
        jax.tree.map(lambda leaf: jnp.asarray(random.randn(*leaf.shape), jnp.float32), shapes[0]) for _ in range(2)
    )
    _, optimizer = make_optimizer(options, 10, 100, None, is_stacked)

    def updated(params, gradients):
        state = optimizer.init(params)
        for _ in range(2):
            updates, state = optimizer.update(gradients, state, params)
            params = optax.apply_updates(params, updates)
        return params

    def stack(tree):
        return stacked_variables({"params": tree}, {"params": shapes[1]})["params"]

    found = separated_variables({"params": updated(stack(params), stack(gradients))})["params"]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), found, updated(params, gradients))


def test_a_network_without_equal_blocks_cannot_scan():
    for name in ("densenet121", "vgg16", "inception_v3"):
        said = f"model.scan makes a loop of a stage's equal blocks, and {name} has no such blocks: leave it out"
        with pytest.raises(ConfigError, match=said):
            make_model(ModelConfig(name=name, scan=True), 10)


@pytest.mark.slow
@pytest.mark.parametrize("wrapper", ["shard_map", "pmap"])
def test_every_wrapper_takes_a_loop(wrapper):
    """One step over two devices, with statistics of the global batch: the same as under jit."""
    two = DataParallel.over(jax.devices()[:2])
    states = []
    for each in ("jit", wrapper):
        options = config(scan=True, augmentations=())
        options = dataclasses.replace(options, parallel=dataclasses.replace(options.parallel, wrapper=each))
        made = assembly.assemble(options, parallel=two)
        batch = next(made.train_feed.training(0, 1))
        states.append(made.train_step(made.make_state(), assembly.zero_totals(), batch)[0])
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), states[0].params, states[1].params
    )
