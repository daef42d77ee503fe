"""Fine-tuning on regions (arXiv:1311.2524, section 2.3): a head for the classes and the background is trained anew."""

import dataclasses
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TypedDict

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import rich.console

from jaxcnn.adaptation import adaptation
from jaxcnn.augment.compose import normalize
from jaxcnn.augment.geometric import horizontal_flip
from jaxcnn.config import LossConfig, Normalization
from jaxcnn.config.detection import DetectorConfig, TuningConfig
from jaxcnn.data.order import epoch_order
from jaxcnn.detection.matching import LabelledRegions
from jaxcnn.detection.pictures import Pictures
from jaxcnn.detection.warp import Canvases, outside, warped
from jaxcnn.devices.parallel import DataParallel
from jaxcnn.errors import UserError, writing
from jaxcnn.evaluation.predictions import Predictions
from jaxcnn.evaluation.result import Result
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

CHECKPOINTS = "checkpoints"
_SHOWN_STEPS = 50
_SAVED_STEPS = 100
_MEASURED_BATCHES = 8
"""The number of batches that the tuned network is measured on, drawn as those that it is trained on."""
_OTHER_ORDER = 1 << 20
"""The number that is added to the seed for the order of the background, and of what is measured."""


class RegionBatch(TypedDict, total=False):
    """The regions of a training step, and the images that they are cut from."""

    picture: jax.Array
    """The index of each region's image among ``pictures`` or ``resident``, int32 (batch,)."""
    box: jax.Array
    """The boxes, float32 (batch, 4)."""
    label: jax.Array
    """The labels, int32 (batch,); the background comes after all classes."""
    step: jax.Array
    """The step, int32 (batch,)."""
    slot: jax.Array
    """The place of each region in the batch, int32 (batch,)."""
    pictures: Canvases
    """An image for each region, spread over the devices with them; absent where all images are resident."""
    resident: Canvases
    """All images, whole on every device."""


@dataclasses.dataclass(frozen=True, eq=False)
class RegionFeed:
    """Yields the regions of training steps: so many that show objects, and so many of the background.

    Either kind is shown in an endless sequence of orders, each of which holds every region once. So a step is a
    function of the seed and of its number alone.
    """

    pictures: Pictures
    regions: LabelledRegions
    config: TuningConfig
    parallel: DataParallel
    num_classes: int
    """The number of classes, without the background."""
    examples: np.ndarray
    """The indices of the regions that show an object."""
    background: np.ndarray
    """The indices of the regions that show none."""
    seed: int

    def training(self, first_step: int, last_step: int) -> Iterator[RegionBatch]:
        """Yields the batches of steps ``first_step`` to ``last_step - 1``."""
        rows = self.parallel.rows(self.config.objects + self.config.backgrounds)
        resident = self.pictures.resident(self.parallel)
        for step in range(first_step, last_step):
            chosen = np.concatenate(
                [
                    self._in_order(self.examples, step, self.config.objects, self.seed),
                    self._in_order(self.background, step, self.config.backgrounds, self.seed + _OTHER_ORDER),
                ]
            )[rows]
            shows = rows < self.config.objects
            picture = self.regions.image[chosen]
            batch = {
                "picture": picture,
                "box": self.regions.boxes[chosen],
                "label": np.where(shows, self.regions.label[chosen], self.num_classes).astype(np.int32),
                "step": np.full(len(rows), step, np.int32),
                "slot": rows.astype(np.int32),
            }
            if resident is not None:
                yield self.parallel.put_batch(batch) | {"resident": resident}
                continue
            own = {"picture": rows.astype(np.int32), "pictures": self.pictures.read(picture)}
            yield self.parallel.put_batch(batch | own)

    @staticmethod
    def _in_order(indices: np.ndarray, step: int, count: int, seed: int) -> np.ndarray:
        samples = np.arange(step * count, (step + 1) * count)
        epochs, positions = np.divmod(samples, len(indices))
        found = np.empty(count, np.int64)
        for epoch in np.unique(epochs):
            now = epochs == epoch
            found[now] = indices[epoch_order(seed, int(epoch), len(indices))[positions[now]]]
        return found


def make_region_preparation(
    config: TuningConfig, normalization: Normalization, size: int, channels: int, context: int, key: jax.Array
) -> Callable[[RegionBatch], tuple[jax.Array, jax.Array]]:
    """Returns the pure function from a batch to warped, normalized regions and their labels.

    Args:
        config: the options.
        normalization: the normalization of the network's images.
        size: the height and width of a warped region, in pixels.
        channels: the number of its channels.
        context: the pixels around the box in it.
        key: the key by which regions are mirrored.
    """

    def prepare(batch: RegionBatch) -> tuple[jax.Array, jax.Array]:
        pictures = batch["resident"] if "resident" in batch else batch["pictures"]
        fill = outside(normalization, channels)
        found = warped(pictures, batch["picture"], batch["box"], size=size, context=context, fill=fill)
        found = normalize(found, normalization)
        if config.mirror:
            keys = jax.vmap(lambda step, slot: jax.random.fold_in(jax.random.fold_in(key, step), slot))(
                batch["step"], batch["slot"]
            )
            found = horizontal_flip(keys, found)
        return found, batch["label"]

    return prepare


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
    options, parallel = config.rcnn.tuning, DataParallel.over_all_devices()
    examples, background = regions.examples(options.min_overlap), regions.background(options.min_overlap)
    _check(examples, background, options, parallel)
    size, classes = config.size, len(class_names) + 1
    shape = (size, size, config.channels)
    assert isinstance(network.model, Network)  # every network of ours, or of a recipe, is
    model = network.model.clone(num_classes=classes)
    adapted = adaptation(options.finetune, model, shape)
    epoch = Fraction(len(examples), options.objects)
    partition = adapted.partition if adapted else None
    learning_rate, optimizer = make_optimizer(options.optimizer, epoch, options.steps, partition)
    head_key, mirror_key, dropout_key = jax.random.split(jax.random.key(options.seed), 3)
    prepare = make_region_preparation(
        options, config.normalization, size, config.channels, config.rcnn.warp.context, mirror_key
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
        if restored is None or restored.step < options.steps:
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
                    evaluate=_evaluation(model, prepare, dataclasses.replace(feed, seed=feed.seed + 2 * _OTHER_ORDER)),
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
    names = (*class_names, BACKGROUND)
    return dataclasses.replace(
        network, model=model, variables=jax.device_get(state.variables), num_classes=classes, class_names=names
    )


BACKGROUND = "background"
"""The name of the class of regions that show no object; it comes last."""


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
