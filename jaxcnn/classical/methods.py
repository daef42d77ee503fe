"""The two ways to encode an image's descriptors: how each is fitted on a sample, and how it encodes an image."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, UInt8

from jaxcnn.classical.dictionary import Learning, batch_of, initial, learned
from jaxcnn.classical.fisher import Mixture, fisher_vectors, improved, normalized
from jaxcnn.classical.lasso import Coding, Dictionary, prepared, sparse_codes
from jaxcnn.classical.mixture import Fit, fitted_further, principal_components
from jaxcnn.classical.pyramid import cells_of
from jaxcnn.config.baselines import Baseline, SiftFisher, SparseCoding
from jaxcnn.errors import UserError

Arrays = Mapping[str, np.ndarray]
"""What has been fitted so far, by name; ``done``, a bool, says whether that is all."""
Encoder = Callable[[Mapping[str, jax.Array], UInt8[Array, "points 128"]], Float32[Array, " length"]]
"""A pure function from what was fitted, and an image's descriptors, to the image's encoding."""

_BATCHES_A_PIECE = 20
"""The number of batches of descriptors in a piece of dictionary learning."""


class Sample(NamedTuple):
    """The descriptors that an encoding is fitted on, none of a flat patch."""

    descriptors: np.ndarray
    """uint8 (points, 128)."""
    positions: np.ndarray
    """Where each is in its image: x and y as shares of width and height, float32 (points, 2)."""


def unit_descriptors(descriptors: UInt8[Array, "points 128"], square_root: bool) -> Float32[Array, "points 128"]:
    """Returns descriptors of length 1; those of zeros stay zeros.

    Args:
        descriptors: the descriptors.
        square_root: whether they are the square roots of shares of their sum.
    """
    values = descriptors.astype(jnp.float32)
    if not square_root:
        return normalized(values)
    return jnp.sqrt(values / jnp.maximum(values.sum(-1, keepdims=True), 1))


@dataclasses.dataclass(frozen=True)
class FisherMethod:
    """Improved Fisher vectors of principal components of descriptors."""

    config: SiftFisher
    why_zeros: ClassVar = "no patch in them has any contrast"
    """The clause that says why some images are encoded as zeros."""

    def fitted_further(self, sample: Sample, before: Arrays | None) -> Arrays:
        """Returns what is fitted after one more piece of work.

        Args:
            sample: the descriptors.
            before: what the pieces before have fitted; None for the first.

        Raises:
            UserError: the sample holds too few descriptors.
        """
        config = self.config
        units = np.asarray(unit_descriptors(jnp.asarray(sample.descriptors), config.sift.square_root), np.float64)
        if before is None:
            mean, axes = principal_components(units, config.pca)
        else:
            mean, axes = before["mean"], before["axes"]
        local = (units - mean) @ axes.T
        if config.coordinates:
            local = np.concatenate([local, sample.positions - 0.5], axis=1)
        fit = fitted_further(
            local,
            None if before is None else Fit(*(before[name] for name in Fit._fields[:3]), *_numbers(before)),
            components=config.components,
            reg_covar=config.reg_covar,
            tolerance=config.tolerance,
            max_steps=config.max_steps,
            seed=config.seed,
        )
        return {"mean": mean, "axes": axes, **{name: np.asarray(value) for name, value in fit._asdict().items()}}

    def used(self, fitted: Arrays) -> Arrays:
        """Returns what the encoder takes of everything that was fitted, float32."""
        names = ("mean", "axes", "weights", "means", "precisions")
        return {name: np.asarray(fitted[name], np.float32) for name in names}

    def encoder(self, positions: np.ndarray) -> Encoder:
        """Returns the encoder of images whose key points have these positions."""
        config, cells = self.config, cells_of(positions, self.config.pyramid)

        def encode(fitted: Mapping[str, jax.Array], descriptors: jax.Array) -> jax.Array:
            units = unit_descriptors(descriptors, config.sift.square_root)
            exact = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)
            local = exact(units - fitted["mean"][None], fitted["axes"].T)
            if config.coordinates:
                local = jnp.concatenate([local, jnp.asarray(positions) - 0.5], axis=1)
            mixture = Mixture(fitted["weights"], fitted["means"], 1 / fitted["precisions"])
            counted = jnp.asarray(cells) & (descriptors != 0).any(-1)[None]
            return improved(fisher_vectors(local, counted, mixture), config.power)

        return encode


@dataclasses.dataclass(frozen=True)
class SparseMethod:
    """The largest absolute values of descriptors' sparse codes in each cell of a pyramid."""

    config: SparseCoding
    why_zeros: ClassVar = "no patch in them has any contrast, or none has a code at this penalty"
    """The clause that says why some images are encoded as zeros."""

    def fitted_further(self, sample: Sample, before: Arrays | None) -> Arrays:
        """Returns what is fitted after one more piece of work, as `FisherMethod.fitted_further` does."""
        config, size = self.config, len(sample.descriptors)
        if size < max(config.atoms, config.batch):
            least = f"the {config.atoms} atoms" if size < config.atoms else f"a batch of {config.batch}"
            raise UserError(
                f"the sample holds {size} descriptors, fewer than {least} of the dictionary: set atoms and batch "
                "lower, or sample more"
            )
        units = np.asarray(unit_descriptors(jnp.asarray(sample.descriptors), config.sift.square_root))
        state, first = initial(units, config.atoms, config.seed), 0
        if before is not None:
            state, first = Learning(*(jnp.asarray(before[name]) for name in Learning._fields)), int(before["steps"])
        steps = config.passes * (size // config.batch)
        last = min(first + _BATCHES_A_PIECE, steps)
        for step in range(first, last):
            batch = units[batch_of(size, step, config.batch, config.seed)]
            state = learned(state, batch, jnp.int32(step), self._coding)
        arrays = {name: np.asarray(value) for name, value in state._asdict().items()}
        return {**arrays, "steps": np.asarray(last), "done": np.asarray(last == steps)}

    def used(self, fitted: Arrays) -> Arrays:
        """Returns what the encoder takes of everything that was fitted, float32."""
        dictionary = prepared(jnp.asarray(fitted["dictionary"]), self.config.penalty)
        return {name: np.asarray(value) for name, value in dictionary._asdict().items()}

    def encoder(self, positions: np.ndarray) -> Encoder:
        """Returns the encoder of images whose key points have these positions."""
        config, cells = self.config, cells_of(positions, self.config.pyramid)

        def encode(fitted: Mapping[str, jax.Array], descriptors: jax.Array) -> jax.Array:
            units = unit_descriptors(descriptors, config.sift.square_root)
            codes = jnp.abs(sparse_codes(units, Dictionary(fitted["atoms"], fitted["solution"]), self._coding).codes)
            # One cell at a time, so that no array of (cells, points, atoms) is made.
            maxima = jax.lax.map(lambda cell: jnp.where(cell[:, None], codes, 0).max(0), jnp.asarray(cells))
            return normalized(maxima.reshape(-1))

        return encode

    @property
    def _coding(self) -> Coding:
        return Coding(self.config.penalty, self.config.tolerance, self.config.max_steps)


Method = FisherMethod | SparseMethod


def method_of(config: Baseline) -> Method:
    """Returns the method that carries out a baseline's options."""
    match config:
        case SiftFisher():
            return FisherMethod(config)
        case SparseCoding():
            return SparseMethod(config)
    raise TypeError(f"{type(config).__name__} is no baseline")


def _numbers(fitted: Arrays) -> tuple[float, int, bool]:
    return float(fitted["log_likelihood"]), int(fitted["steps"]), bool(fitted["done"])
