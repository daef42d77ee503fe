"""Fine-tuning on regions (arXiv:1311.2524, section 2.3): a head for the classes and the background is trained anew."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import rich.console

from jaxcnn.adaptation import adaptation
from jaxcnn.config import LossConfig
from jaxcnn.config.detection import DetectorConfig, TuningConfig
from jaxcnn.detection.matching import LabelledRegions
from jaxcnn.detection.pictures import Pictures
from jaxcnn.detection.region_feed import OTHER_ORDER, RegionBatch, RegionFeed, make_region_preparation
from jaxcnn.devices.memory import keep_for_batches_of
from jaxcnn.devices.parallel import DataParallel
from jaxcnn.errors import UserError, writing
from jaxcnn.evaluation.predictions import Predictions
from jaxcnn.evaluation.result import Result
from jaxcnn.features.arrays import read_arrays, write_arrays
from jaxcnn.models.network import Network
from jaxcnn.models.parts import head_axes, shapes_of
from jaxcnn.trained import Trained
from jaxcnn.training.checkpoint import Checkpoints
from jaxcnn.training.loop import Plan, fit
from jaxcnn.training.losses import make_loss
from jaxcnn.training.optimizer import make_optimizer
from jaxcnn.training.report import Reporter
from jaxcnn.training.state import TrainState, create_state
from jaxcnn.training.step import make_train_step
from jaxcnn.types import PyTree, Variables
from jaxcnn.work_folder import OTHER_FOLDER

BACKGROUND = "background"
"""The name of the class of regions that show no object; it comes last."""
CHECKPOINTS = "checkpoints"
NETWORK_FILE = "network.safetensors"
"""The file of the variables of the network once it is tuned."""
_SHOWN_STEPS = 50
_SAVED_STEPS = 100
_MEASURED_BATCHES = 8
"""The number of batches that the tuned network is measured on, drawn as those that it is trained on."""


def tuned(
    network: Trained,
    pictures: Pictures,
    regions: LabelledRegions,
    class_names: tuple[str, ...],
    config: DetectorConfig,
    folder: Path,
    *,
    stop: Callable[[], bool] = lambda: False,
    console: rich.console.Console | None = None,
) -> Trained | None:
    """Trains a network on regions, or goes on with that; or returns the one that was trained.

    Args:
        network: the network to start from.
        pictures: the images of the split.
        regions: their regions.
        class_names: the names of the classes. The new head has one more, the background, which comes last.
        config: the options.
        folder: the folder of the checkpoints and of ``metrics.jsonl``.
        stop: polled at every step.
        console: what progress is printed to; by default the terminal.

    Returns:
        The network; or None where ``stop`` returned True, and everything is saved.

    Raises:
        UserError: no region shows an object or no region shows none, or an option does not fit the network.
    """
    file = folder / NETWORK_FILE
    if file.exists():
        return read_tuned(network, class_names, folder)
    options, parallel = config.rcnn.tuning, DataParallel.over_all_devices()
    examples, background = regions.examples(options.min_overlap), regions.background(options.min_overlap)
    _check(examples, background, options, parallel)
    size, classes = config.size, len(class_names) + 1
    shape = (size, size, config.channels)
    keep_for_batches_of(math.prod(shape) * (options.objects + options.backgrounds))
    assert isinstance(network.model, Network)  # every network of ours, or of a recipe, is
    model = network.model.clone(num_classes=classes)
    adapted = adaptation(options.finetune, model, shape)
    epoch = Fraction(len(examples), options.objects)
    partition = adapted.partition if adapted else None
    learning_rate, optimizer = make_optimizer(options.optimizer, epoch, options.steps, partition)
    head_key, mirror_key, dropout_key = jax.random.split(jax.random.key(options.seed), 3)
    prepare = make_region_preparation(
        options, config.normalization, size, config.channels, config.rcnn.warp.context_of(config.size), mirror_key
    )

    def initial() -> TrainState:
        state = create_state(model, optimizer, head_key, shape, partition=partition)
        variables = with_new_head(network, model, state.variables, shape)
        return dataclasses.replace(state, params=variables["params"], batch_stats=variables["batch_stats"])

    make_state = jax.jit(initial, out_shardings=parallel.replicated)
    abstract = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=parallel.replicated),
        jax.eval_shape(make_state),
    )
    step = make_train_step(
        apply=adapted.still.apply(model) if adapted else model.apply,
        prepare=prepare,
        loss=make_loss(LossConfig()),
        optimizer=optimizer,
        dropout_key=dropout_key,
        partition=partition,
        parallel=parallel,
        state_shardings=jax.tree.map(lambda leaf: parallel.replicated, abstract),
    )
    feed = RegionFeed(pictures, regions, options, parallel, len(class_names), examples, background, options.seed)
    console = console or rich.console.Console(markup=False, emoji=False)
    with writing(folder, OTHER_FOLDER):
        folder.mkdir(parents=True, exist_ok=True)
    with Checkpoints(folder / CHECKPOINTS, keep=1, ranked=("top1_error",)) as checkpoints:
        restored = checkpoints.restore(abstract)
        state = restored.state if restored else make_state()
        if int(state.step) < options.steps:
            first = int(state.step)
            with Reporter(
                folder,
                first_step=first,
                evaluated=False,
                total_steps=options.steps,
                epochs=float(options.steps / epoch),
                steps_per_epoch=float(epoch),
                console=console,
            ) as reporter:
                reporter.say(
                    f"tuning on {len(examples):,} regions that show objects and {len(background):,} that show none"
                )
                state, result = fit(
                    state,
                    step=step,
                    feed=feed,
                    evaluate=_evaluation(model, prepare, dataclasses.replace(feed, seed=feed.seed + 2 * OTHER_ORDER)),
                    plan=Plan(
                        total_steps=options.steps,
                        evaluation_steps=frozenset({options.steps}),
                        log_every_steps=_SHOWN_STEPS,
                        save_every_steps=_SAVED_STEPS,
                        max_bad_steps=10,
                        learning_rate=learning_rate,
                        sums=restored.sums if restored else {},
                    ),
                    checkpoints=checkpoints,
                    reporter=reporter,
                    stop=stop,
                )
            if result is None:
                return None
        write_arrays(file, flax.traverse_util.flatten_dict(jax.device_get(state.variables), sep="/"))
    return read_tuned(network, class_names, folder)


def read_tuned(network: Trained, class_names: Sequence[str], folder: Path) -> Trained:
    """Returns the network that `tuned` has trained to the end.

    Args:
        network: the network that it started from.
        class_names: the names of the classes, without the background.
        folder: the folder that was given to `tuned`.

    Raises:
        UserError: its file cannot be read.
    """
    variables = flax.traverse_util.unflatten_dict(read_arrays(folder / NETWORK_FILE), sep="/")
    names = (*class_names, BACKGROUND)
    model = network.model.clone(num_classes=len(names))
    return dataclasses.replace(
        network, model=model, variables={"batch_stats": {}, **variables}, num_classes=len(names), class_names=names
    )


def with_new_head(network: Trained, model: Network, initial: Variables, shape: tuple[int, int, int]) -> Variables:
    """Returns the variables of a network with another number of classes: new where they depend on it.

    Args:
        network: the network that the others are taken from.
        model: the network with the new number of classes.
        initial: its initial variables.
        shape: the height, width and channels of its images.
    """
    head = head_axes(model, shape, shapes_of(model, shape))
    old = flax.traverse_util.flatten_dict(dict(network.variables), sep="/")
    new = flax.traverse_util.flatten_dict(dict(initial), sep="/")
    found = {path: leaf if path in head else jnp.asarray(old[path]) for path, leaf in new.items()}
    return {"batch_stats": {}, **flax.traverse_util.unflatten_dict(found, sep="/")}


def _evaluation(
    model: Network, prepare: Callable[[RegionBatch], tuple[jax.Array, jax.Array]], feed: RegionFeed
) -> Callable[[TrainState], Result]:
    """Returns the function that measures a state on regions drawn as those of training are, but in another order."""

    @jax.jit
    def scores(variables: Variables, batch: RegionBatch) -> tuple[PyTree, jax.Array]:
        images, labels = prepare(batch)
        return model.apply(variables, images, train=False), labels

    def evaluate(state: TrainState) -> Result:
        found = [jax.device_get(scores(state.variables, batch)) for batch in feed.training(0, _MEASURED_BATCHES)]
        logits, labels = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return Predictions(logits.astype(np.float32), labels.astype(np.int32), np.ones(len(labels), bool)).result((1,))

    return evaluate


def _check(examples: np.ndarray, background: np.ndarray, options: TuningConfig, parallel: DataParallel) -> None:
    if not len(examples):
        raise UserError(
            f"no region overlaps an object by {options.min_overlap:g}, so there is nothing to tune the network on: "
            "give images with objects"
        )
    if not len(background):
        raise UserError(
            f"every region overlaps an object by {options.min_overlap:g}, so there is no background to tell it from: "
            "lower --proposals.min-size"
        )
    parallel.check_batch_size("the number of regions in a step", options.objects + options.backgrounds)
