"""What a unit looks for: images that make it answer most, found by gradient ascent."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxcnn.devices.settings import own_settings
from jaxcnn.errors import UserError, nearest
from jaxcnn.explanations.image import blank, check_differentiable
from jaxcnn.features.extraction import layers
from jaxcnn.features.layers import extractor
from jaxcnn.trained import Trained
from jaxcnn.types import Variables

STEPS, JITTER, LEARNING_RATE = 256, 8, 0.05
"""The steps of the ascent, the most pixels by which an image is shifted in each direction, and the rate of Adam, where
nothing else is asked for."""
_NOISE = 0.01
"""The deviation of the spectrum that the ascent begins at."""
_CONTRAST = 0.25
"""What the spectrum is multiplied by: with more, a step of Adam changes pixels so much that they end in pure
colours."""


@own_settings()
def preferred_images(
    network: Trained,
    layer: str,
    units: Sequence[int],
    *,
    steps: int = STEPS,
    jitter: int = JITTER,
    learning_rate: float = LEARNING_RATE,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns an image for each unit that makes it answer strongly, and the answers.

    A unit is a channel of a layer's map, whose mean over all positions is its answer, or a value of a layer without a
    map. An image is held as its spectrum, in which low frequencies weigh more, so that the ascent does not end in noise
    (Olah et al. 2017, "Feature Visualization"). A logistic function keeps it between black and white. Before each step
    it is shifted at random, round its borders (Mordvintsev et al. 2015, "Inceptionism"), so that no pixel matters by
    its place alone.

    Args:
        network: the network.
        layer: the name of the layer.
        units: the numbers of the units.
        steps: the steps of the ascent.
        jitter: the most pixels by which an image is shifted; 0 leaves it in its place.
        learning_rate: the rate of Adam.
        seed: what the first image and the shifts are drawn from.

    Returns:
        The images, uint8 (units, height, width, channels), and the units' answers to these, float32 (units,).

    Raises:
        UserError: there is no such layer or unit, or no step, or the network is a program.
    """
    check_differentiable(network)
    _check(network, layer, units, steps, jitter)
    side, channels = network.data.evaluation_crop.size, network.data.channels
    compute = extractor(network.model, network.normalization, [layer], "average")
    index = np.asarray(units, np.int32)
    vertical, horizontal = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]
    scale = _CONTRAST / np.maximum(np.hypot(vertical, horizontal), 1 / side)
    middle = np.clip(blank(network, "mean") / 255, 0.1, 0.9)
    offset = np.log(middle / (1 - middle)).astype(np.float32).reshape(1, 1, 1, -1)

    def drawn(spectrum: jax.Array) -> jax.Array:
        weighed = jax.lax.complex(spectrum[0], spectrum[1]) * jnp.asarray(scale, jnp.float32)[None, :, :, None]
        pixels = jnp.fft.irfft2(weighed, (side, side), (1, 2), norm="ortho")
        return 255 * jax.nn.sigmoid(pixels + offset)

    def answers(variables: Variables, images: jax.Array) -> jax.Array:
        return compute(variables, images)[layer][jnp.arange(len(index)), index]

    optimizer = optax.adam(learning_rate)

    @jax.jit
    def climbed(variables: Variables, spectrum: jax.Array, key: jax.Array) -> jax.Array:
        def loss(spectrum: jax.Array, shift: jax.Array) -> jax.Array:
            return -answers(variables, jnp.roll(drawn(spectrum), shift, (1, 2))).sum()

        def step(number: jax.Array, carried: tuple[jax.Array, optax.OptState]) -> tuple[jax.Array, optax.OptState]:
            spectrum, state = carried
            shift = jax.random.randint(jax.random.fold_in(key, number), (2,), -jitter, jitter + 1)
            updates, state = optimizer.update(jax.grad(loss)(spectrum, shift), state, spectrum)
            return jax.tree.map(jnp.add, spectrum, updates), state

        return jax.lax.fori_loop(0, steps, step, (spectrum, optimizer.init(spectrum)))[0]

    first, shifts = jax.random.split(jax.random.key(seed))
    shape = (2, len(index), side, side // 2 + 1, channels)
    spectrum = climbed(network.variables, _NOISE * jax.random.normal(first, shape), shifts)
    images = np.rint(np.asarray(jax.jit(drawn)(spectrum))).astype(np.uint8)
    return images, np.asarray(jax.jit(answers)(network.variables, images))


def _check(network: Trained, layer: str, units: Sequence[int], steps: int, jitter: int) -> None:
    shapes = {each.name: each.shape for each in layers(network)}
    if layer not in shapes:
        raise UserError(f"this network has no layer {layer!r}: {nearest(layer, shapes)}")
    if not units:
        raise UserError(f"no unit of {layer} is named: give at least one number")
    for unit in units:
        if not 0 <= unit < shapes[layer][-1]:
            raise UserError(f"{layer} has no unit {unit}: give a number from 0 to {shapes[layer][-1] - 1}")
    if steps < 1 or jitter < 0:
        raise UserError(
            f"{steps} steps with shifts of up to {jitter} are no ascent: give 1 step or more, and 0 or more"
        )
