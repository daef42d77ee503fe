import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcnn
from jaxcnn.errors import UserError
from jaxcnn.layers.blocks import StochasticDepth
from jaxcnn.layers.norm import BatchNorm
from jaxcnn.models.nasnet import Defaults
from jaxcnn.models.nasnet_cells import NORMAL, REDUCTION, Cell
from jaxcnn.tables.networks import describe


def small(name="nasnet_a_cifar", **options):
    """Five or seven cells of few features."""
    model = jaxcnn.create_model(name, num_classes=3, lowering="xla", **options)
    return model.clone(cells=1, features=4, stem_features=6)


def variables_of(model, size):
    """Made without the initializers, which take as long to compile as the network."""
    shapes, random = (
        jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, size, size, 3))),
        np.random.default_rng(0),
    )
    return jax.tree.map(lambda leaf: np.abs(random.standard_normal(leaf.shape, np.float32)), shapes)


@pytest.mark.parametrize(("name", "millions"), [("nasnet_a_mobile", 564), ("nasnet_a_large", 23_800)])
def test_multiply_adds_are_the_papers(name, millions):
    assert describe(name).multiply_adds / 1e6 == pytest.approx(millions, rel=1e-3)


def test_cells_are_where_tf_slim_has_them():
    specs = small("nasnet_a_large").cell_specs()
    assert [spec.name for spec in specs] == [
        "stem_cell0",
        "stem_cell1",
        "stage1_cell0",
        "stage2_reduction",
        "stage2_cell0",
        "stage3_reduction",
        "stage3_cell0",
    ]
    assert [spec.features for spec in specs] == [1, 2, 4, 8, 8, 16, 16]
    for name, cells, back in (("large", 22, 3), ("mobile", 16, 2), ("cifar", 20, 2)):
        specs = jaxcnn.create_model(f"nasnet_a_{name}").cell_specs()
        assert len(specs) == cells
        assert {spec.back for spec in specs if spec.name in ("stage2_cell0", "stage3_cell0")} == {back}
        assert {spec.back for spec in specs if spec.name not in ("stage2_cell0", "stage3_cell0")} == {2}


@pytest.mark.parametrize(
    ("name", "auxiliary_heads", "size"),
    [("nasnet_a_large", False, 3), ("nasnet_a_mobile", True, 67), ("nasnet_a_cifar", True, 9)],
)
def test_one_pixel_below_the_smallest_size_is_refused(name, auxiliary_heads, size):
    model = small(name, auxiliary_heads=auxiliary_heads)
    keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}

    def run(height, width):
        images = jnp.zeros((1, height, width, 3))
        return jax.eval_shape(lambda: model.init_with_output(keys, images, train=auxiliary_heads)[0])

    assert model.smallest_size == size
    assert all(logits.shape == (1, 3) for logits in jax.tree.leaves(run(size, size)))
    with pytest.raises(UserError, match=f"too small for the strides of NASNet: give at least {size}x{size}"):
        run(size, size - 1)


@pytest.mark.parametrize("size", [(1, 3), (33, 50), (31, 32)])
def test_any_size_will_do(size):
    model = small()
    logits, _ = jax.eval_shape(lambda: model.init_with_output(jax.random.key(0), jnp.zeros((2, *size, 3))))
    assert logits.shape == (2, 3)


def test_what_has_twice_the_resolution_is_halved_from_even_and_from_odd_pixels():
    cell = Cell(NORMAL, 2, 1, True, False, *(small().conv(), small().norm(False)), lambda: lambda x, _: x)
    images = jnp.arange(1.0, 26).reshape(1, 5, 5, 1)
    variables = cell.init(jax.random.key(0), images[:, :3, :3], images, 1.0)
    params = variables["params"]
    for half in ("even", "odd"):
        params[f"previous_{half}_conv"]["kernel"] = jnp.ones((1, 1, 1, 1))
    previous = cell.apply(variables, images[:, :3, :3], images, 1.0)[0, ..., :2] * np.sqrt(1 + 1e-5)
    np.testing.assert_allclose(previous[..., 0], [[1, 3, 5], [11, 13, 15], [21, 23, 25]], rtol=1e-6)
    np.testing.assert_allclose(previous[..., 1], [[7, 9, 0], [17, 19, 0], [0, 0, 0]], rtol=1e-6)


def test_average_pools_at_stride_2_count_padding_only_if_asked():
    images = jnp.ones((1, 3, 3, 2))

    def pooled(count_padding):
        """The third combination of a reduction cell whose convolutions are all zero but the last cell's projection."""
        conv, norm = small().conv(kernel_init=jax.nn.initializers.zeros), small().norm(False)
        cell = Cell(REDUCTION, 2, 2, False, count_padding, conv, norm, lambda: lambda x, _: x)
        variables = cell.init(jax.random.key(0), images, images, 1.0)
        variables["params"]["current_conv"]["kernel"] = jnp.eye(2).reshape(1, 1, 2, 2)
        return cell.apply(variables, images, images, 1.0)[0, :, :, 2] * np.sqrt(1 + 1e-5)

    np.testing.assert_allclose(pooled(False), np.ones((2, 2)), rtol=1e-6)
    np.testing.assert_allclose(pooled(True), np.full((2, 2), 4 / 9), rtol=1e-6)


DEFAULTS = {
    "mobile": Defaults(0.5, 0.0, 1e-3, 0.9997),
    "large": Defaults(0.5, 0.3, 1e-3, 0.9997),
    "cifar": Defaults(0.0, 0.4, 1e-5, 0.9),
}


@pytest.mark.parametrize(("name", "cells"), [("mobile", 7), ("large", 7), ("cifar", 5)])
@pytest.mark.parametrize("options", [{}, Defaults(0.0, 0.1, 0.01, 0.5)._asdict()])
def test_rates_grow_from_cell_to_cell_and_defaults_are_tf_slims(name, cells, options):
    model = small(f"nasnet_a_{name}", **options)
    expected = DEFAULTS[name]._replace(**options)
    rates, norms, dropouts = {}, set(), set()

    def look(module, _):
        match module:
            case StochasticDepth():
                rates.setdefault(module.path[0], []).append(module.rate)
            case BatchNorm():
                norms.add((module.epsilon, module.momentum))
            case nn.Dropout():
                dropouts.add(module.rate)
        return False

    images = jnp.zeros((1, 32, 32, 3))
    jax.eval_shape(lambda: model.init_with_output(jax.random.key(0), images, capture_intermediates=look))
    assert (dropouts, norms) == ({expected.dropout_rate}, {expected[2:]})
    assert len(rates) == cells
    for number, (cell, found) in enumerate(rates.items(), 1):
        # Ten operations, of which one or two are none.
        operations = 9 if "reduction" in cell or "stem" in cell else 8
        assert found == [pytest.approx(expected.drop_path_rate * number / cells)] * operations


def test_progress_multiplies_the_rate():
    @jax.jit
    def drop(progress):
        rngs = {"dropout": jax.random.key(0)}
        return StochasticDepth(0.5, train=True).apply({}, jnp.ones((10_000, 1)), progress, rngs=rngs)

    np.testing.assert_array_equal(drop(0.0), 1)
    for progress, kept in ((0.5, 0.75), (1.0, 0.5)):
        found = drop(progress)
        np.testing.assert_allclose(found.max(), 1 / kept, rtol=1e-6)
        assert (found > 0).mean() == pytest.approx(kept, abs=0.02)


@pytest.mark.slow
def test_training_drops_by_progress_computes_again_and_moves_the_statistics():
    images = jax.random.normal(jax.random.key(1), (4, 9, 9, 3))
    variables = variables_of(small(), 9)

    def loss(params, key, progress, **options):
        state, settings = {**variables, "params": params}, {"train": True, "drop_path_progress": progress}
        logits, updated = small(**options).apply(
            state, images, **settings, rngs={"dropout": key}, mutable=["batch_stats"]
        )
        return jnp.square(logits).mean(), updated["batch_stats"]

    plain = jax.jit(loss)
    again = jax.jit(jax.value_and_grad(functools.partial(loss, remat=(1, 2, 3)), has_aux=True))
    first, second, params = jax.random.key(2), jax.random.key(3), variables["params"]
    assert str(jax.make_jaxpr(again)(params, first, 1.0)).count("remat") == 5

    assert plain(params, first, 0.0)[0] == plain(params, second, 0.0)[0]
    assert not np.allclose(plain(params, first, 1.0)[0], plain(params, second, 1.0)[0], rtol=0.01)
    (value, batch_stats), gradients = again(params, first, 0.5)
    np.testing.assert_allclose(value, plain(params, first, 0.5)[0], rtol=1e-4)
    assert all(np.isfinite(leaf).all() and leaf.any() for leaf in jax.tree.leaves(gradients))
    moved = jax.tree.map(lambda new, old: not np.allclose(new, old), batch_stats, variables["batch_stats"])
    assert all(jax.tree.leaves(moved))


@pytest.mark.slow
def test_the_auxiliary_head_has_as_many_parameters_as_tf_slims():
    model = jaxcnn.create_model("nasnet_a_cifar", auxiliary_heads=True)
    params = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))["params"]
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 4_978_036


@pytest.mark.slow
def test_the_auxiliary_head_is_there_in_training_and_its_parameters_always():
    model = small(auxiliary_heads=True, drop_path_rate=0.0)
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    assert shapes["params"]["auxiliary_head"]["conv2"]["kernel"].shape == (4, 4, 128, 768)
    assert "auxiliary_head" not in jax.eval_shape(small().init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))["params"]

    def run(size, train):
        images = jax.ShapeDtypeStruct((2, size, size, 3), jnp.float32)
        return jax.eval_shape(
            lambda variables, images: model.apply(variables, images, train=train, mutable=["batch_stats"])[0],
            shapes,
            images,
        )

    assert [logits.shape for logits in run(32, True)] == [(2, 3), (2, 3)]
    assert run(32, False).shape == run(48, False).shape == (2, 3)
    with pytest.raises(UserError, match=r"made for pooled maps of \(4, 4\), not \(7, 7\): train on images of the size"):
        run(48, True)
