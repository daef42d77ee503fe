"""Sparse codes and dictionaries, against scikit-learn's."""

import functools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import MiniBatchDictionaryLearning, sparse_encode

from jaxcnn.classical.dictionary import Learning, batch_of, initial, learned
from jaxcnn.classical.lasso import Coding, duality_gaps, objective, prepared, sparse_codes

ATOMS, DIMENSIONS, POINTS = 24, 16, 40
CODING = Coding(penalty=0.15, tolerance=1e-6, max_steps=2000)


@functools.partial(jax.jit, static_argnames="coding")
def code(descriptors, dictionary, coding):
    return sparse_codes(descriptors, prepared(dictionary, coding.penalty), coding)


def unit(rng, count):
    values = rng.normal(size=(count, DIMENSIONS)).astype(np.float32)
    return jnp.asarray(values / np.linalg.norm(values, axis=1, keepdims=True))


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_codes_are_the_optimum_that_scikit_learn_finds_by_coordinate_descent(seed):
    rng = np.random.default_rng(seed)
    dictionary, descriptors = unit(rng, ATOMS), unit(rng, POINTS)
    found = code(descriptors, dictionary, CODING)
    expected = sparse_encode(
        *(np.asarray(descriptors, np.float64), np.asarray(dictionary, np.float64)),
        algorithm="lasso_cd",
        alpha=0.15,
        max_iter=10000,
    )
    assert (expected != 0).sum(1).mean() > 2
    np.testing.assert_allclose(found.codes, expected, atol=2e-3)
    best = objective(descriptors, dictionary, jnp.asarray(expected, jnp.float32), 0.15)
    mine = objective(descriptors, dictionary, found.codes, 0.15)
    np.testing.assert_allclose(mine, best, atol=1e-6)
    assert (np.asarray(found.gaps) <= 0.5e-6).all()


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.05, 1))
def test_a_gap_bounds_what_a_code_is_above_the_optimum(seed, scale):
    rng = np.random.default_rng(seed)
    dictionary, descriptors = unit(rng, ATOMS), unit(rng, POINTS)
    best = code(descriptors, dictionary, CODING).codes
    worse = jnp.asarray(np.asarray(best) * scale + rng.normal(size=best.shape).astype(np.float32) * 0.01)
    above = objective(descriptors, dictionary, worse, 0.15) - objective(descriptors, dictionary, best, 0.15)
    assert (np.asarray(duality_gaps(descriptors, dictionary, worse, 0.15)) >= np.asarray(above) - 2e-6).all()


def test_the_tolerance_is_kept_and_zeros_stay_zeros():
    rng = np.random.default_rng(0)
    dictionary, descriptors = unit(rng, ATOMS), unit(rng, POINTS)
    descriptors = descriptors.at[3].set(0)
    rough = code(descriptors, dictionary, Coding(penalty=0.15, tolerance=1e-2, max_steps=2000))
    assert not np.asarray(rough.codes[3]).any()
    assert (np.asarray(rough.gaps) <= 1e-2 * 0.5 + 1e-7).all()
    assert np.asarray(rough.gaps).max() > 1e-5  # it did not go further than it had to
    stopped = code(descriptors, dictionary, Coding(penalty=0.15, tolerance=1e-9, max_steps=10))
    assert np.asarray(stopped.gaps).max() > 1e-6
    none = code(descriptors, dictionary, Coding(penalty=1.5, tolerance=1e-6, max_steps=100))
    assert not np.asarray(none.codes).any()


def test_a_dictionary_codes_as_well_as_scikit_learns():
    rng = np.random.default_rng(1)
    atoms = np.asarray(unit(rng, ATOMS))
    chosen = rng.normal(size=(1500, ATOMS)) * (rng.random((1500, ATOMS)) < 0.1)
    samples = (chosen @ atoms + 0.02 * rng.normal(size=(1500, DIMENSIONS))).astype(np.float32)
    samples = samples[np.linalg.norm(samples, axis=1) > 0.1]
    samples /= np.linalg.norm(samples, axis=1, keepdims=True)
    training, held_out = samples[:1000], jnp.asarray(samples[1000:])
    coding = Coding(penalty=0.15, tolerance=1e-4, max_steps=300)
    state = initial(training, ATOMS, seed=0)
    before = state.dictionary
    for step in range(6 * (len(training) // 100)):
        state = learned(state, training[batch_of(len(training), step, 100, seed=0)], jnp.int32(step), coding)
    assert (np.linalg.norm(state.dictionary, axis=1) <= 1 + 1e-5).all()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = MiniBatchDictionaryLearning(
            ATOMS, alpha=0.15, batch_size=100, max_iter=6, fit_algorithm="cd", random_state=0
        ).fit(training.astype(np.float64))

    def loss(dictionary):
        dictionary = jnp.asarray(dictionary, jnp.float32)
        return float(objective(held_out, dictionary, code(held_out, dictionary, coding).codes, 0.15).mean())

    assert loss(state.dictionary) <= 1.01 * loss(theirs.components_)
    assert loss(state.dictionary) < 0.9 * loss(before)


def test_an_atom_that_no_code_uses_is_replaced():
    rng = np.random.default_rng(2)
    descriptors = unit(rng, 8)
    state = Learning(
        jnp.asarray(np.concatenate([descriptors[:3], 1e-3 * descriptors[3:4]])),
        *(jnp.zeros((4, 4)), jnp.zeros((4, DIMENSIONS))),
    )
    found = learned(state, descriptors, jnp.int32(0), Coding(penalty=0.15, tolerance=1e-4, max_steps=100))
    assert np.linalg.norm(found.dictionary[3]) == pytest.approx(1)


def test_a_pass_shows_every_descriptor_once():
    batches = [batch_of(10, step, 5, seed=3) for step in range(4)]
    assert sorted(np.concatenate(batches[:2])) == list(range(10))
    assert sorted(np.concatenate(batches[2:])) == list(range(10))
    assert not np.array_equal(np.concatenate(batches[:2]), np.concatenate(batches[2:]))
