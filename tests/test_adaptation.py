"""What is frozen stays as it is, and costs nothing; what is not is trained as it would be beside it."""

import dataclasses
import functools
from pathlib import Path

import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.adaptation import adaptation
from jaxcnn.assembly import abstract_arguments, assemble, count_parameters
from jaxcnn.config import SGD, ConfigError, FinetuneConfig, ModelConfig, ParallelConfig, Resize, ScheduleConfig
from jaxcnn.devices.parallel import DataParallel
from jaxcnn.errors import UserError
from jaxcnn.models.network import Network
from jaxcnn.models.registry import create_model
from jaxcnn.recipes import load_config
from jaxcnn.training.step import zero_totals

RECIPES = Path(__file__).parent / "recipes"
SHAPE = (8, 8, 1)


def config(finetune, **changes):
    return dataclasses.replace(load_config(RECIPES / "two_stages.py"), finetune=finetune, **changes)


def assembled(finetune, count=1, **changes):
    return assemble(config(finetune, **changes), parallel=DataParallel.over(jax.devices()[:count]))


def flat(tree):
    return flax.traverse_util.flatten_dict(jax.device_get(tree), sep="/")


@functools.cache
def compiled(names):
    """The parts of a run on one device with some frozen, and its compiled step."""
    assembly = assembled(FinetuneConfig(frozen=names))
    return assembly, assembly.train_step.lower(*abstract_arguments(assembly)).compile()


def trained(assembly, steps=2):
    """The states before and after some steps, on the host."""
    state, totals = assembly.make_state(), zero_totals()
    before = jax.device_get(state)
    for batch in assembly.train_feed.training(0, steps):
        state, totals = assembly.train_step(state, totals, batch)
    assert int(totals["bad_steps"]) == 0
    return before, jax.device_get(state)


def assert_only_moved(before, after, frozen):
    """All variables have moved, with their moving averages, but for those that are frozen, which have the same bits."""
    for old, new in ((before.variables, after.variables), (before.ema, after.ema)):
        old, new = flat(old), flat(new)
        assert old.keys() == new.keys()
        for path, values in old.items():
            assert (values.tobytes() == new[path].tobytes()) == frozen(path), path


def of_stem_and_first_stage(path):
    return path.split("/")[1].startswith(("conv1", "norm1", "stage1"))


@pytest.mark.parametrize(
    ("wrapper", "count", "parallel"),
    [
        ("shard_map", 8, {}),
        *(
            pytest.param(wrapper, count, parallel, marks=pytest.mark.slow)
            for wrapper in ("jit", "shard_map", "pmap")
            for count in (1, 8)
            for parallel in ({}, {"batch_norm": "local", "shard_optimizer": True, "micro_batches": 2})
        ),
    ],
)
def test_frozen_stages_keep_their_bits(wrapper, count, parallel):
    finetune = FinetuneConfig(frozen=("stem", "1"))
    parallel = ParallelConfig(wrapper=wrapper, **parallel)
    assembly = assembled(finetune, count, parallel=parallel, augmentations=())
    before, after = trained(assembly)
    assert_only_moved(before, after, of_stem_and_first_stage)
    traces = flat(after.optimizer_state[1].trace)
    assert traces.keys() == {path for path in flat(after.params) if not of_stem_and_first_stage(f"params/{path}")}


@pytest.mark.slow
def test_a_frozen_trunk_leaves_the_head_alone_to_train():
    before, after = trained(assembled(FinetuneConfig(frozen=("trunk",))))
    assert_only_moved(before, after, lambda path: not path.startswith("params/classifier/"))


@pytest.mark.slow
def test_statistics_can_be_frozen_everywhere():
    before, after = trained(assembled(FinetuneConfig(freeze_statistics=True)))
    assert_only_moved(before, after, lambda path: path.startswith("batch_stats/"))


@pytest.mark.slow
def test_normalization_alone_can_be_frozen():
    before, after = trained(assembled(FinetuneConfig(frozen=("*norm*",))))
    assert_only_moved(before, after, lambda path: "norm" in path)


def test_in_a_frozen_part_the_network_computes_as_in_evaluation():
    """Random masks, or statistics of the batch, would show in the logits; also where stages are computed again."""
    load_config(RECIPES / "two_stages.py")
    model = create_model("two_stages", drop_path_rate=0.5, remat=(1, 2))
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, *SHAPE)))
    random = np.random.default_rng(0)
    variables = jax.tree.map(lambda leaf: random.uniform(0.5, 1, leaf.shape).astype(np.float32), shapes)
    images = random.standard_normal((4, *SHAPE)).astype(np.float32)
    adapted = adaptation(FinetuneConfig(frozen=("trunk",)), model, SHAPE)
    train = {"train": True, "mutable": ["batch_stats"], "rngs": {"dropout": jax.random.key(2)}}

    @jax.jit
    def logits(variables):
        still, left = adapted.still.apply(model)(variables, images, **train)
        return still, left, model.apply(variables, images), model.apply(variables, images, **train)[0]

    still, left, evaluated, others = jax.device_get(logits(variables))
    np.testing.assert_allclose(still, evaluated, rtol=1e-6)
    jax.tree.map(np.testing.assert_array_equal, left["batch_stats"], variables["batch_stats"])
    assert np.abs(others - evaluated).max() > 0.1 * np.abs(evaluated).max()


@pytest.mark.parametrize(
    ("name", "frozen", "still"),
    [
        # Dropout is between the dense layers, on the inputs of the two hidden ones.
        ("lenet", ("trunk",), {"Dropout_0", "Dropout_1"}),
        ("lenet", ("1", "2"), set()),
        ("lenet", ("1", "2", "dense1"), {"Dropout_0"}),
        ("lenet", ("dense1", "dense2"), set()),  # what comes before them is trained
        ("two_stages", ("stem", "1"), {"stage1_block0/drop_path"}),
        ("two_stages", ("*norm*",), set()),
        ("two_stages", ("stage2_*",), {"stage2_block0/drop_path"}),
    ],
)
def test_nothing_is_dropped_out_in_a_frozen_part(name, frozen, still):
    load_config(RECIPES / "two_stages.py")
    shape = (16, 16, 1) if name == "lenet" else SHAPE
    adapted = adaptation(FinetuneConfig(frozen=frozen), create_model(name), shape)
    assert adapted.still.drops == still


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "still"),
    [("alexnet", {"Dropout_0", "Dropout_1"}), ("alexnet_2012", {"Dropout_0"}), ("vgg11", {"Dropout_0"})],
)
def test_dropout_of_what_the_head_takes_stays_on(name, still):
    """AlexNet of 2012 and VGG drop the outputs of the hidden layers, the last of which the head takes."""
    adapted = adaptation(FinetuneConfig(frozen=("trunk",)), create_model(name), (227, 227, 3))
    assert adapted.still.drops == {f"classifier/{each}" for each in still}


@pytest.mark.slow
def test_gradients_of_what_is_trained_are_those_of_the_whole_network():
    """Without momentum and decay, a step is the gradient."""
    optimizer = SGD(momentum=0.0, weight_decay=0.0, schedule=ScheduleConfig(kind="constant"))
    changes = []
    for frozen in ((), ("1", "stage2_block0/conv2")):
        finetune = FinetuneConfig(frozen=frozen, freeze_statistics=True)
        assembly = assembled(finetune, optimizer=optimizer, model=ModelConfig(name="two_stages"))
        before, after = trained(assembly, steps=1)
        changes.append(flat(jax.tree.map(np.subtract, after.params, before.params)))
    whole, part = changes
    for path, change in part.items():
        still = path.startswith("stage1") or path == "stage2_block0/conv2/kernel"
        np.testing.assert_allclose(change, 0 * change if still else whole[path], rtol=1e-5, atol=1e-8)


def test_rates_are_for_what_is_trained():
    load_config(RECIPES / "two_stages.py")
    model = create_model("two_stages")
    finetune = FinetuneConfig(frozen=("stem",), rates={"trunk": 0.1})
    rates = adaptation(finetune, model, SHAPE).partition.rates
    assert set(rates.values()) == {0.1}
    assert {path.split("_")[0] for path in rates} == {"stage1", "stage2"}


def test_a_frozen_trunk_costs_no_gradient_and_no_memory_of_the_optimizer():
    (whole, whole_step), (frozen, frozen_step) = compiled(()), compiled(("trunk",))
    state = whole.abstract_state
    images = jax.ShapeDtypeStruct((whole.config.data.batch_size, *SHAPE), jnp.float32)
    forward = jax.jit(whole.model.apply).lower(state.variables, images).compile()
    flops = [each.cost_analysis()["flops"] for each in (forward, frozen_step, whole_step)]
    # What is beside the network (crops, moving average, update) is a part of both steps, and of no forward pass.
    assert flops[1] < 1.2 * flops[0] < 0.5 * flops[2], flops

    def size(assembly):
        return sum(leaf.size for leaf in jax.tree.leaves(assembly.abstract_state.optimizer_state))

    assert size(frozen) == count_parameters(state.params["classifier"]) + 1  # a momentum, and the schedule's step
    assert size(whole) == count_parameters(state.params) + 1


class Foreign(Network):
    """A network with a normalization of its own kind."""

    @nn.compact
    def __call__(self, images, *, train=False):
        x = nn.BatchNorm(use_running_average=not train, name="stem_norm")(images)
        return nn.Dense(self.num_classes, name="head")(x.mean((1, 2)))


@pytest.mark.parametrize(
    ("finetune", "sentence"),
    [
        ({"frozen": ("trunk", "head")}, "finetune.frozen trunk, head is all of ResNet: leave something to train"),
        ({"frozen": ("*",)}, r"finetune.frozen \* is all of ResNet"),
        ({"frozen": ("7",)}, "finetune.frozen names stage 7, which ResNet does not have: choose from stem, 1, 2, head"),
        ({"frozen": ("stage1_blok",)}, "finetune.frozen 'stage1_blok' matches no parameter .* 'stage1_block"),
        ({"rates": {"nose": 0.1}}, "finetune.rates 'nose' matches no parameter of ResNet"),
        (
            {"rates": {"1": 0.1}, "frozen": ("trunk",)},
            "finetune.rates '1' names only what finetune.frozen names too: leave it out of one",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(finetune, sentence):
    load_config(RECIPES / "two_stages.py")
    with pytest.raises(UserError, match=f"^{sentence}"):
        adaptation(FinetuneConfig(**finetune), create_model("two_stages"), SHAPE)


@pytest.mark.parametrize("options", [{"rates": {"trunk": 0.0}}, {"rate_decay": 0.0}, {"rate_decay": 1.5}])
def test_a_rate_that_is_none_is_refused(options):
    with pytest.raises(ConfigError, match="must be"):
        FinetuneConfig(**options)


def test_a_normalization_that_cannot_be_held_still_is_refused():
    with pytest.raises(UserError, match=r"^stem_norm is a BatchNorm, which cannot be held to its running statistics"):
        adaptation(FinetuneConfig(frozen=("stem",)), Foreign(num_classes=3), SHAPE)


@pytest.mark.slow
def test_one_image_a_part_is_no_obstacle_where_no_statistics_are_taken():
    data = dataclasses.replace(config(FinetuneConfig()).data, batch_size=1)
    small = dataclasses.replace(data, train_crop=Resize(size=2), evaluation_crop=Resize(size=2))
    with pytest.raises(UserError, match="takes statistics over several values"):
        assembled(FinetuneConfig(frozen=("stem",)), data=small, augmentations=())
    assembled(FinetuneConfig(freeze_statistics=True), data=small, augmentations=())
