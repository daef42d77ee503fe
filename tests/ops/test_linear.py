import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from jaxcnn.ops.linear import linear_map

X = jnp.arange(1.0, 4)


def scale(transposes):
    """``x * c``, whose transpose is written down in ``transposes`` whenever it is traced or run."""

    def forward(constants, operands):
        return (operands[0] * constants[0],)

    def backward(constants, cotangents):
        transposes.append(jax.typeof(cotangents[0]).shape)
        return (cotangents[0] * constants[0],)

    return lambda c, x: linear_map(forward, backward, (c,), (x,))[0]


def test_reverse_mode_runs_the_given_transpose():
    transposes = []
    gradient = jax.grad(lambda x: scale(transposes)(2 * X, x).sum())(X)
    assert gradient.tolist() == [2, 4, 6]
    assert transposes == [(3,)]


def test_it_is_differentiated_by_constants_and_operands_to_any_order():
    def both(x):
        return jnp.sum(scale([])(jnp.sin(x), x**2))

    def plain(x):
        return jnp.sum(jnp.sin(x) * x**2)

    for derivative in (
        jax.jacfwd,
        jax.grad,
        jax.hessian,
        lambda f: jax.jacrev(jax.jacfwd(f)),
        lambda f: jax.jacfwd(jax.jacfwd(f)),
        lambda f: jax.jacrev(jax.jacrev(f)),
        lambda f: jax.jacfwd(jax.checkpoint(jax.grad(f))),
    ):
        np.testing.assert_allclose(jax.jit(derivative(both))(X), derivative(plain)(X), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0), (1, 1)])
def test_it_is_batched(axes):
    def loss(c, x):
        return jnp.sum(jnp.cos(scale([])(c, x)))

    stack = jnp.stack([X, X + 1, X * 3])
    arguments = [X if axis is None else stack for axis in axes]
    found = jax.vmap(jax.grad(loss, (0, 1)), axes)(*arguments)
    expected = jax.vmap(jax.grad(lambda c, x: jnp.sum(jnp.cos(c * x)), (0, 1)), axes)(*arguments)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5), found, expected)
    # And the other way round, where what is not batched gets the sum over the batch.
    found = jax.grad(lambda *xs: jax.vmap(loss, axes)(*xs).sum(), (0, 1))(*arguments)
    expected = jax.grad(lambda *xs: jax.vmap(lambda c, x: jnp.sum(jnp.cos(c * x)), axes)(*xs).sum(), (0, 1))(*arguments)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5), found, expected)


def test_a_constant_that_nothing_moves_may_be_a_whole_number():
    def pick(constants, operands):
        return (jnp.where(constants[0] == 1, operands[0], 0),)

    def squares(x):
        return jnp.sum(linear_map(pick, pick, (jnp.array([0, 1, 1]),), (x,))[0] ** 2)

    assert jax.jvp(jax.grad(squares), (X,), (X,))[1].tolist() == [0, 4, 6]


def test_it_keeps_its_constants_between_the_passes_and_nothing_else():
    def costly(constants, operands):
        return (jnp.exp(constants[0]) * operands[0],)

    _, pull_back = jax.vjp(lambda x: linear_map(costly, costly, (X,), (x,))[0], X)
    kept = [leaf for leaf in jax.tree.leaves(pull_back) if leaf.shape == X.shape]
    assert [leaf.tolist() for leaf in kept] == [X.tolist()]


@pytest.mark.parametrize("check_vma", [True, False])
def test_its_collectives_find_their_axis(check_vma):
    def centre(_, operands):  # its own transpose
        return (operands[0] - jax.lax.pmean(operands[0], "data"),)

    def loss(x):
        return jnp.sum(linear_map(centre, centre, (), (x,))[0] ** 2)

    x = jnp.arange(8.0)
    expected = 2 * (x - x.mean())
    np.testing.assert_allclose(jax.vmap(jax.grad(loss), axis_name="data")(x), expected)
    mesh = jax.make_mesh((8,), ("data",), (jax.sharding.AxisType.Auto,))
    split = PartitionSpec("data")
    mapped = jax.shard_map(jax.grad(loss), mesh=mesh, in_specs=split, out_specs=split, check_vma=check_vma)
    np.testing.assert_allclose(jax.jit(mapped)(x), expected)
    np.testing.assert_allclose(mapped(x), expected)

    def along(x):
        return jax.jvp(jax.grad(loss), (x,), (x,))[1]

    mapped = jax.shard_map(along, mesh=mesh, in_specs=split, out_specs=split, check_vma=check_vma)
    np.testing.assert_allclose(jax.jit(mapped)(x), expected)
