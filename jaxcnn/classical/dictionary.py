"""Dictionary learning for sparse codes, one small batch of descriptors at a time.

Mairal, Bach, Ponce and Sapiro, "Online learning for matrix factorization and sparse coding", JMLR 2010, algorithms 1
and 2, with the forgetting of section 3.4. scikit-learn's ``MiniBatchDictionaryLearning`` is the same method. It is
written anew here because learning must go on where it was killed, for which scikit-learn shows too little of its state,
and because the codes are by far the larger part of the work, which an accelerator can do.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32

from jaxcnn.classical.lasso import Coding, prepared, sparse_codes
from jaxcnn.data.random import random_state

_UNUSED = 1e-6
"""The share of an atom in the codes below which it is replaced by a descriptor."""


class Learning(NamedTuple):
    """What learning a dictionary goes on from."""

    dictionary: Float32[Array, "atoms dimensions"]
    """The atoms, each of length 1 at most."""
    code_sums: Float32[Array, "atoms atoms"]
    """The mean of ``code^T code``, in which older batches count for less."""
    product_sums: Float32[Array, "atoms dimensions"]
    """The mean of ``code^T descriptor``."""


def initial(descriptors: Float32[np.ndarray, "points dimensions"], atoms: int, seed: int) -> Learning:
    """Returns what learning starts from: atoms that are different descriptors, drawn at random.

    Args:
        descriptors: at least as many descriptors of length 1 as there are to be atoms.
        atoms: the number of atoms.
        seed: the seed of the draw.
    """
    drawn = random_state(seed, 1).permutation(len(descriptors))[:atoms]
    dimensions = descriptors.shape[1]
    zeros = np.zeros((atoms, atoms), np.float32), np.zeros((atoms, dimensions), np.float32)
    return Learning(*map(jnp.asarray, (descriptors[drawn], *zeros)))


def batch_of(size: int, step: int, batch_size: int, seed: int) -> np.ndarray:
    """Returns the indices of the descriptors of a step: each pass shows all descriptors in an order of its own.

    What a pass leaves over is left out of it.

    Args:
        size: the number of descriptors, at least ``batch_size``.
        step: the number of the step, from 0.
        batch_size: the number of descriptors in a step.
        seed: the seed of the orders.
    """
    passed, number = divmod(step, size // batch_size)
    return random_state(seed, 2, passed).permutation(size)[number * batch_size : (number + 1) * batch_size]


@functools.partial(jax.jit, static_argnames="coding")
def learned(
    state: Learning, descriptors: Float32[Array, "batch dimensions"], step: jax.Array, coding: Coding
) -> Learning:
    """Returns the state after one more batch.

    Args:
        state: the state before it.
        descriptors: the batch.
        step: the number of the step, from 0: an integer.
        coding: how descriptors are coded.
    """
    batch = len(descriptors)
    codes = sparse_codes(descriptors, prepared(state.dictionary, coding.penalty), coding).codes
    # The codes of older batches, which a worse dictionary gave, count less by (1 - 1 / t)^2 at the t-th step.
    kept = step / (step + 3.0)
    exact = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)
    code_sums = kept * state.code_sums + (1 - kept) * exact(codes.T, codes) / batch
    product_sums = kept * state.product_sums + (1 - kept) * exact(codes.T, descriptors) / batch

    def with_atom(number: jax.Array, dictionary: jax.Array) -> jax.Array:
        share = code_sums[number, number]
        moved = dictionary[number] + (product_sums[number] - exact(code_sums[number], dictionary)) / jnp.maximum(
            share, _UNUSED
        )
        atom = moved / jnp.maximum(jnp.linalg.norm(moved), 1)
        return dictionary.at[number].set(jnp.where(share > _UNUSED, atom, descriptors[number % batch]))

    dictionary = jax.lax.fori_loop(0, len(state.dictionary), with_atom, state.dictionary)
    return Learning(dictionary, code_sums, product_sums)
