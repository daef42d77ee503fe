"""Equal blocks as one loop over stacked parameters: the same network, in another layout."""

import functools
import time

import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.devices.compilation import nothing_kept
from jaxcnn.errors import UserError
from jaxcnn.models.parts import parts_of
from jaxcnn.models.registry import create_model
from jaxcnn.models.resnet import BasicBlock, ResNet
from jaxcnn.models.scanned import Repeating, is_stacked, stacked_members
from jaxcnn.weights.layouts import separated_variables, stacked_variables
from jaxcnn.weights.load import load_variables
from jaxcnn.weights.save import save_variables

RESNET = ResNet(block_type=BasicBlock, stage_sizes=(3,), width=4, stem="cifar", shortcut="projection", num_classes=3)
FAMILIES = {
    "resnet": (RESNET, 8, {"stage1_block1-2"}),
    "regnet": ("regnet_y_200mf", 32, {"stage3_block1-3", "stage4_block1-6"}),
    "convnext": ("convnext_tiny", 32, {f"stage{stage}_block1-{8 if stage == 3 else 2}" for stage in (1, 2, 3, 4)}),
    "efficientnet": ("efficientnet_b0", 32, {"stage4_block1-2", "stage5_block1-2", "stage6_block1-3"}),
    "nasnet": ("nasnet_a_cifar", 9, {f"stage{stage}_cell2-5" for stage in (1, 2, 3)}),
}
SMALL = {"nasnet": {"features": 4, "stem_features": 4}, "convnext": {"width": 4}, "regnet": {}, "efficientnet": {}}


def network(family, **options):
    """A small network of a family without loops, and the size of its images."""
    model, size, _ = FAMILIES[family]
    if isinstance(model, str):
        model = create_model(model, num_classes=3).clone(**SMALL[family])
    return model.clone(**options), size


def images(size, count=4):
    return jnp.asarray(np.random.RandomState(0).randn(count, size, size, 3), jnp.float32)


def initial(model, size, seed=0):
    """Random variables; scales and running statistics are random too, so that each block has its own."""
    shapes = jax.eval_shape(functools.partial(model.init, train=False), jax.random.key(0), images(size, 1))
    random = np.random.RandomState(seed)
    flat = flax.traverse_util.flatten_dict(shapes)
    filled = {
        path: jnp.asarray(
            1 + 0.1 * np.abs(random.randn(*leaf.shape))
            if path[-1] in ("scale", "var")
            else random.randn(*leaf.shape) / np.sqrt(max(1, np.prod(leaf.shape[:-1]))),
            jnp.float32,
        )
        for path, leaf in flat.items()
    }
    return flax.traverse_util.unflatten_dict(filled)


def layout(model, size):
    return jax.eval_shape(functools.partial(model.init, train=False), jax.random.key(0), images(size, 1))


def loss_of(model, size, **options):
    def loss(params, others):
        logits, updated = model.apply(
            {"params": params, **others}, images(size), train=True, mutable=["batch_stats"], **options
        )
        return jnp.mean(logits**2), (logits, updated)

    return loss


def trained(model, variables, size, **options):
    """The logits, the gradient and the running statistics of a step, as variables of the network."""
    others = {name: tree for name, tree in variables.items() if name != "params"}
    gradient = jax.jit(jax.grad(loss_of(model, size, **options), has_aux=True))
    gradients, (logits, updated) = gradient(variables["params"], others)
    return logits, {"params": gradients, **updated}


def assert_close(found, wanted, tolerance):
    """Asserts that the leaves of two trees agree, each up to a share of its own largest value."""
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(found), jax.tree.leaves(wanted), strict=True):
        scale = max(float(jnp.abs(b).max()), 1e-6)
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * scale, err_msg=jax.tree_util.keystr(path))


@pytest.mark.parametrize(
    "family", [pytest.param(each, marks=() if each == "resnet" else pytest.mark.slow) for each in FAMILIES]
)
def test_both_layouts_hold_the_same_and_go_over_into_each_other(family):
    model, size = network(family)
    scanned = model.clone(scan=True)
    separate, loops = layout(model, size), layout(scanned, size)
    assert {module for module in loops["params"] if is_stacked(module)} == FAMILIES[family][2]
    assert jax.eval_shape(separated_variables, loops) == separate
    assert jax.eval_shape(separated_variables, separate) == separate
    assert jax.eval_shape(functools.partial(stacked_variables, like=loops), separate) == loops
    assert sum(leaf.size for leaf in jax.tree.leaves(loops)) == sum(leaf.size for leaf in jax.tree.leaves(separate))


@pytest.mark.parametrize(
    "family", [pytest.param(each, marks=() if each == "resnet" else pytest.mark.slow) for each in FAMILIES]
)
def test_logits_gradients_and_statistics_are_those_of_separate_blocks(family):
    options = {"drop_path_rate": 0.0} if family in ("convnext", "efficientnet", "nasnet") else {}
    options |= {"dropout_rate": 0.0} if family == "efficientnet" else {}
    with jax.enable_x64(True):
        model, size = network(family, **options, dtype=jnp.float64)
        scanned = model.clone(scan=True)
        variables = initial(model, size)
        loops = stacked_variables(variables, layout(scanned, size))
        logits, step = trained(model, variables, size)
        scanned_logits, scanned_step = trained(scanned, loops, size)
        np.testing.assert_allclose(scanned_logits, logits, rtol=1e-5, atol=1e-6)
        assert_close(separated_variables(scanned_step), step, 1e-4)
        measured, scanned_measured = (
            jax.jit(functools.partial(each.apply, train=False))(held, images(size))
            for each, held in ((model, variables), (scanned, loops))
        )
        np.testing.assert_allclose(scanned_measured, measured, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_remat_inside_the_loop_changes_nothing():
    size, scanned = 8, RESNET.clone(scan=True)
    loops = stacked_variables(initial(RESNET, size), layout(scanned, size))
    logits, step = trained(scanned, loops, size)
    again_logits, again = trained(scanned.clone(remat=(1,)), loops, size)
    np.testing.assert_allclose(again_logits, logits, rtol=1e-5, atol=1e-6)
    assert_close(again, step, 1e-4)
    others = {"batch_stats": loops["batch_stats"]}
    gradient = jax.grad(lambda params: loss_of(scanned.clone(remat=(1,)), size)(params, others)[0])
    loops_of_it = [each for each in jax.make_jaxpr(gradient)(loops["params"]).eqns if each.primitive.name == "scan"]
    assert sum("remat" in str(each) or "checkpoint" in str(each) for each in loops_of_it) == 1


class Shift(nn.Module):
    """Puts what stochastic depth makes of 1 in the place of the last channel, and moves the others on."""

    drop_path: object

    @nn.compact
    def __call__(self, x):
        return jnp.concatenate([x[..., 1:], self.drop_path()(jnp.ones_like(x[..., :1]))], axis=-1)


class Shifts(Repeating):
    """A channel for each block, which shows what was dropped."""

    @nn.compact
    def __call__(self, images, *, train=False):
        rates = [0.0, 0.25, 0.5, 0.75]
        return self.blocks("stage1_block", Shift, images, rates, train)


def test_each_block_of_a_loop_drops_at_its_own_rate():
    rngs, x = {"dropout": jax.random.key(3)}, jnp.zeros((4000, 1, 1, 4))
    found = Shifts(scan=True).apply({}, x, train=True, rngs=rngs)[:, 0, 0]
    for channel, rate in enumerate((0.0, 0.25, 0.5, 0.75)):
        values = np.unique(found[:, channel])
        np.testing.assert_allclose(values, [0, 1 / (1 - rate)] if rate else [1], rtol=1e-6)
        assert np.mean(found[:, channel] == 0) == pytest.approx(rate, abs=0.03)
    correlation = np.corrcoef(np.asarray(found[:, 1:]).T)
    assert np.abs(correlation - np.eye(3)).max() < 0.06  # each block draws for itself
    np.testing.assert_array_equal(Shifts(scan=True).apply({}, x, train=False), jnp.ones_like(x))


@pytest.mark.slow
def test_initial_blocks_differ_from_each_other():
    made = jax.jit(RESNET.clone(scan=True).init)(jax.random.key(0), images(8, 1))
    kernels = made["params"]["stage1_block1-2"]["conv1"]["kernel"]
    assert kernels.shape == (2, 3, 3, 4, 4)
    assert len(np.unique(kernels)) == kernels.size
    assert np.std(kernels) == pytest.approx(np.sqrt(2 / (9 * 4)), rel=0.2)  # the fans are those of one block


def test_names_of_stacked_modules():
    assert stacked_members("stage3_cell2-4") == ["stage3_cell2", "stage3_cell3", "stage3_cell4"]
    assert stacked_members("stage1_block9-10") == ["stage1_block9", "stage1_block10"]
    assert not any(map(is_stacked, ("stage1_block0", "conv1", "fc-6", "classifier")))


@pytest.mark.slow
def test_weights_of_either_layout_fill_both(tmp_path):
    name = "resnet20_cifar"
    model = create_model(name, num_classes=3).clone(width=4)
    scanned, size = model.clone(scan=True), 8
    variables = initial(model, size)
    loops = stacked_variables(variables, layout(scanned, size))
    save_variables(loops, tmp_path / "loops.safetensors")  # a file always has separate blocks
    save_variables(variables, tmp_path / "separate.safetensors")
    assert (tmp_path / "loops.safetensors").read_bytes() == (tmp_path / "separate.safetensors").read_bytes()
    for source in (variables, loops, tmp_path / "loops.safetensors"):
        for made, wanted in ((model, variables), (scanned, loops)):
            found = load_variables(made, name, source, image_shape=(size, size, 3))
            jax.tree.map(np.testing.assert_array_equal, found, wanted)


def test_parts_of_a_network_with_loops():
    parts = parts_of(RESNET.clone(scan=True), (8, 8, 3))
    assert parts.stages == [1]
    assert parts.named("1", "finetune.frozen") == parts.named("stage1_*", "finetune.frozen")
    assert "stage1_block1-2/conv1/kernel" in parts.named("1", "finetune.frozen")
    assert parts.distance_from_head("stage1_block1-2/conv1/kernel") == 1
    with pytest.raises(UserError, match=r"'stage1_block2' matches no parameter of ResNet .*'stage1_block1-2"):
        parts.named("stage1_block2", "finetune.frozen")


@pytest.mark.slow
def test_resnet152_compiles_like_resnet50_and_computes_what_separate_blocks_do():
    size, seconds, programs = 32, {}, {}
    for name in ("resnet50", "resnet152"):
        model = create_model(name, num_classes=3).clone(width=4, scan=True)
        shapes = layout(model, size)
        others = {"batch_stats": shapes["batch_stats"]}
        lowered = jax.jit(jax.grad(loss_of(model, size), has_aux=True)).lower(shapes["params"], others)
        programs[name] = len(lowered.as_text())
        start = time.process_time()
        with nothing_kept():
            lowered.compile()
        seconds[name] = time.process_time() - start
    assert programs["resnet152"] < 1.1 * programs["resnet50"]
    assert seconds["resnet152"] < 1.5 * seconds["resnet50"]

    separate = model.clone(scan=False)
    variables = initial(separate, size)
    logits, step = trained(separate, variables, size)
    found, scanned_step = trained(model, stacked_variables(variables, shapes), size)
    np.testing.assert_allclose(found, logits, rtol=1e-3, atol=1e-3 * float(jnp.abs(logits).max()))
    assert_close(separated_variables(scanned_step), step, 2e-2)
