"""TensorFlow's SavedModel: a folder with the network as a program of StableHLO, which TensorFlow calls.

``jax2tf`` writes it, so it runs in TensorFlow itself and in what serves it, and not in TensorFlow Lite or in
TensorFlow.js, which have no operation for programs of StableHLO.
"""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

from jaxcnn.errors import UserError
from jaxcnn.export.about import about, text
from jaxcnn.export.compared import agree_in_batches
from jaxcnn.export.programs import program_of
from jaxcnn.export.stablehlo import Platform, lowered_for
from jaxcnn.trained import Trained

ABOUT = Path("assets.extra", "about.json")
"""Where in the folder the facts about the network are: TensorFlow leaves this folder to whoever writes."""


def export_savedmodel(network: Trained, path: Path, *, pixels: bool, platforms: Sequence[Platform]) -> str:
    """Writes a network as a SavedModel, and compares what TensorFlow computes from the folder with the network.

    The signature ``serving_default`` takes ``pixels`` and gives ``probabilities``, or takes ``images`` and gives
    ``logits``. The number of images is open; their size is that of the network's crop.

    Args:
        network: the network.
        path: the path of the folder, which is made.
        pixels: whether it takes uint8 pixels and gives probabilities; else it takes normalized float32 images and gives
            logits.
        platforms: the platforms on which it is to run.

    Returns:
        The sentence that says what was compared.

    Raises:
        UserError: it differs from the network, or TensorFlow is not installed.
        OSError: the folder cannot be written.
    """
    if importlib.util.find_spec("tensorflow") is None:
        raise UserError("a SavedModel needs TensorFlow: install jaxcnn[tf]")
    import tensorflow as tf
    from jax.experimental import jax2tf

    function, size, channels = program_of(network, pixels), network.data.evaluation_crop.size, network.data.channels
    takes, gives = ("pixels", "probabilities") if pixels else ("images", "logits")
    lengths = f"(batch, {size}, {size}, {channels})"
    with lowered_for(platforms):
        converted = jax2tf.convert(
            jax.jit(function),
            polymorphic_shapes=[lengths],
            with_gradient=False,
            native_serialization_platforms=tuple(platforms),
        )
        signature = tf.TensorSpec((None, size, size, channels), tf.uint8 if pixels else tf.float32, takes)
        module = tf.Module()
        module.call = tf.function(
            lambda images: {gives: converted(images)}, autograph=False, input_signature=[signature]
        )
        tf.saved_model.save(module, str(path), signatures=module.call)
    (path / ABOUT).parent.mkdir()
    (path / ABOUT).write_text(text(about(network, pixels)), encoding="utf-8")
    serving = tf.saved_model.load(str(path)).signatures["serving_default"]

    def run(images: np.ndarray) -> np.ndarray:
        return serving(tf.constant(images))[gives].numpy()

    largest = agree_in_batches(run, function, network, pixels, str(path))
    return (
        f"a SavedModel for {', '.join(platforms)} and images of {size}x{size} pixels, which differs from the network "
        f"in TensorFlow by {largest:.1e} at most on batches of 1 and 2"
    )
