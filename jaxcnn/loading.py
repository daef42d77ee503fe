"""Loading trained networks: from run folders, published weights and files."""

import dataclasses
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import jax

from jaxcnn.adaptation import adaptation
from jaxcnn.assembly import state_maker
from jaxcnn.augment.compose import augmented_shape
from jaxcnn.config import (
    CenterCrop,
    ConfigError,
    Crop,
    DataConfig,
    Normalization,
    Resize,
    ScheduleConfig,
    TrainConfig,
)
from jaxcnn.devices.settings import own_settings
from jaxcnn.errors import UserError
from jaxcnn.evaluation.result import ranked_metrics
from jaxcnn.export.about import About, read
from jaxcnn.export.programs import load_program, program_file
from jaxcnn.models.network import Network
from jaxcnn.models.registry import get_variant
from jaxcnn.models.scanned import is_stacked, with_separate_blocks
from jaxcnn.networks import make_model, model_options
from jaxcnn.recipes import load_config, run_folder
from jaxcnn.text import names_in
from jaxcnn.trained import Measured, Origin, Trained
from jaxcnn.training.checkpoint import CheckpointError, Checkpoints, Restored
from jaxcnn.training.optimizer import make_optimizer
from jaxcnn.training.report import read_metrics
from jaxcnn.types import Option, Variables
from jaxcnn.weights.files import read_class_names, read_facts
from jaxcnn.weights.layouts import separated_variables
from jaxcnn.weights.load import Ignore, Source, load_network, load_pretrained
from jaxcnn.weights.published import (
    PublishedWeights,
    find_published,
    imagenet_classes,
    is_published,
    published_file,
    published_weights,
)

Which = Literal["latest", "best"]
WeightsOf = Literal["raw", "ema"]


def load(
    name: str | Path,
    weights: str | None = None,
    checkpoint: Which = "latest",
    weights_of: WeightsOf = "raw",
    *,
    ignore: Ignore = (),
    class_names: Sequence[str] | None = None,
) -> Trained:
    """Loads a run folder, a named model with published weights or those of a file, or a program.

    Args:
        name: a run folder, one of ``jaxcnn.list_models()``, or a file that `jaxcnn export` wrote as a program.
        weights: for a model, its weights, as the ``source`` of `load_pretrained`: see `load_published`.
        checkpoint: for a run, which checkpoint: the newest, or the one at which these weights had their lowest error:
            of the first k of ``evaluation.top_k``.
        weights_of: for a run, whether to take its parameters themselves (``raw``) or the moving average of parameters
            and batch statistics (``ema``).
        ignore: for a model, patterns of the names of tensors that are left out of its weights, as for
            `load_pretrained`.
        class_names: the name of each class, in the order of the logits; by default those that are known.

    Returns:
        An object that predicts and evaluates, and shows its model, variables, preprocessing and class names.

    Raises:
        UserError: there is no such run or model, the weights are missing or not the network's, an option is given to a
            model that only a run has, or there are more or fewer names than classes.
    """
    (network,) = load_several(
        [str(name)], [weights] if weights else (), checkpoint, weights_of, ignore=ignore, class_names=class_names
    )
    return network


def load_several(
    names: Sequence[str],
    weights: Sequence[str] = (),
    checkpoint: Which = "latest",
    weights_of: WeightsOf = "raw",
    *,
    ignore: Ignore = (),
    class_names: Sequence[str] | None = None,
) -> list[Trained]:
    """Loads run folders, programs and models, with weights given once for all models or once for each in their order.

    Raises:
        UserError: as `load` does; or the number of weights is neither one nor that of the models.
    """
    models = [name for name in names if not run_folder(name) and not program_file(name)]
    if not any(map(run_folder, names)) and (checkpoint, weights_of) != ("latest", "raw"):
        raise UserError(
            f"--checkpoint and --weights-of choose from what a run has kept, and {names[0]} is not a run folder: leave "
            "them out, or name a run folder"
        )
    if len(weights) > 1 and len(weights) != len(models):
        raise UserError(
            f"--weights is given {len(weights)} times, and there are {len(models)} models: give it once for each, or "
            "once for all"
        )
    sources = iter(weights if len(weights) > 1 else [weights[0] if weights else None] * len(models))
    networks = [
        load_run(folder, checkpoint, weights_of)
        if (folder := run_folder(name))
        else load_program(program)
        if (program := program_file(name))
        else load_published(name, next(sources), ignore=ignore)
        for name in names
    ]
    if class_names is not None:
        for network in networks:
            check_names(class_names, network.num_classes)
        networks = [dataclasses.replace(network, class_names=tuple(class_names)) for network in networks]
    return networks


def check_names(class_names: Sequence[str] | None, num_classes: int) -> None:
    """Refuses more or fewer names than a network has classes.

    Raises:
        UserError: the numbers differ.
    """
    if class_names is not None and len(class_names) != num_classes:
        raise UserError(
            f"--class-names names {len(class_names)} classes, and the network has {num_classes}: name each of them, in "
            "the order of the logits"
        )


def read_names(path: Path | None) -> tuple[str, ...] | None:
    """Reads the names of a network's classes from a file of text: one a line, in the order of the logits.

    There are none, and None is returned, where no file is given.

    Raises:
        UserError: the file cannot be read or holds no text, or a line in it is empty.
    """
    return None if path is None else names_in(path)


@own_settings()
def load_run(folder: Path, checkpoint: Which = "latest", weights_of: WeightsOf = "raw") -> Trained:
    """Loads the network that a run has trained. If the run scans equal blocks, they are separate ones here.

    Args:
        folder: the run folder.
        checkpoint: which checkpoint: the newest, or the one at which these weights had their lowest error.
        weights_of: whether to take the parameters themselves (``raw``) or the moving average of parameters and batch
            statistics (``ema``).

    Raises:
        UserError: the folder is not a run folder, holds no whole checkpoint, or keeps no moving average.
    """
    config = load_config(folder)
    if weights_of == "ema" and config.ema.decay is None:
        raise ConfigError(f"{folder} keeps no moving average: take its raw weights, or train it with --ema.decay")
    model, restored = _restore(folder, config, checkpoint, weights_of)
    starts = [line for line in read_metrics(folder / "metrics.jsonl") if line["kind"] == "start"]
    names = tuple(starts[-1]["class_names"]) if starts else None
    variables = restored.state.ema if weights_of == "ema" else restored.state.variables
    return Trained(
        model=with_separate_blocks(model),
        variables=separated_variables(variables),
        num_classes=model.num_classes,
        class_names=names,
        data=config.data,
        normalization=config.normalization,
        origin=_origin_of_run(folder, config, restored, weights_of),
    )


def _origin_of_run(folder: Path, config: TrainConfig, restored: Restored, weights_of: WeightsOf) -> Origin:
    of_average = {name: value for name, value in restored.metrics.items() if name.startswith("ema_")}
    own = restored.metrics.items() - of_average.items()
    chosen = {name.removeprefix("ema_"): value for name, value in of_average.items()} if weights_of == "ema" else own
    errors = {name: value for name, value in sorted(dict(chosen).items()) if name.endswith("_error")}
    crop = config.data.evaluation_crop
    protocol = f"{config.data.name}, the evaluation split, {crop.kind} to {crop.size} pixels"
    which = f"run {folder.absolute().name}, step {restored.step}"
    return Origin(
        config.model.name,
        dict(config.model.options),
        f"{which}, the moving average" if weights_of == "ema" else which,
        (Measured(errors, protocol, f"jaxcnn, {which}"),) if errors else (),
    )


@own_settings()
def restore_state(folder: Path, checkpoint: Which = "latest") -> Restored:
    """Returns the whole training state of a run, with its step and metrics.

    Raises:
        UserError: the folder is not a run folder, or holds no whole checkpoint.
    """
    return _restore(folder, load_config(folder), checkpoint, "raw")[1]


def _restore(folder: Path, config: TrainConfig, checkpoint: Which, weights_of: WeightsOf) -> tuple[Network, Restored]:
    model = make_model(config.model, 1)  # a run's config has its number of classes
    size = config.data.train_crop.size
    shape = augmented_shape((size, size, config.data.channels), config.augmentations)
    adapted = adaptation(config.finetune, model, shape)
    partition = adapted.partition if adapted else None
    # Only the layout of its state is needed, which is the same with any schedule.
    _, optimizer = make_optimizer(
        dataclasses.replace(config.optimizer, schedule=ScheduleConfig()), 1, 1, partition, is_stacked
    )
    target = jax.eval_shape(state_maker(config, model, optimizer, jax.random.key(0), shape, partition))
    metrics = dict(zip(typing.get_args(WeightsOf), ranked_metrics(config.evaluation.top_k), strict=True))
    with Checkpoints(folder / "checkpoints") as checkpoints:
        restored = checkpoints.restore(target, checkpoint, metric=metrics[weights_of])
    if restored is None:
        raise CheckpointError(f"{folder} holds no checkpoint yet: train it with `jaxcnn train {folder}`")
    return model, restored


@own_settings()
def load_published(name: str, weights: str | None, *, ignore: Ignore = ()) -> Trained:
    """Loads published weights, or those of a file, into a network of `list_models`.

    Args:
        name: the name of the network.
        weights: the weights, as the ``source`` of `load_pretrained`. Published weights come with their options of the
            network, their crop and their normalization, and so does a file that is known by its SHA-256 as a published
            one, or that says them because `jaxcnn export` wrote it. The weights of any other file get the options of
            the network's first published weights, ILSVRC's usual preprocessing, for a grey network with the mean of the
            three channels, and as many classes as they have.
        ignore: patterns of the names of tensors that are left out, as for `load_pretrained`.

    Raises:
        UserError: there is no such model, or the weights are missing or not the network's.
    """
    expected = what_weights_expect(name, weights)
    published = expected.published
    assert weights is not None  # it would have been refused
    model, variables = load_network(name, weights, ignore=ignore, **expected.options)
    facts = expected.facts
    if facts is not None:
        names = facts.class_names
    else:
        names = None if is_published(weights) else read_class_names(Path(weights))
    if names is not None and len(names) != model.num_classes:
        names = None
    variant = get_variant(name)
    if names is None and {model.num_classes, variant.num_classes} == {len(imagenet_classes())}:
        names = imagenet_classes()
    return Trained(
        model=model,
        variables=variables,
        num_classes=model.num_classes,
        class_names=names,
        data=DataConfig(train_crop=expected.crop, evaluation_crop=expected.crop, channels=variant.channels),
        normalization=expected.normalization,
        origin=Origin(
            name,
            expected.options,
            published.source if published else Path(weights).name,
            facts.errors if facts else _measured(published),
        ),
    )


def _measured(weights: PublishedWeights | None) -> tuple[Measured, ...]:
    """Returns the errors that are published of weights."""
    if weights is None:
        return ()
    published = weights.published
    pairs = {"top1_error": published.top1_error, "top5_error": published.top5_error}
    errors = {name: error for name, error in pairs.items() if error is not None}
    return (Measured(errors, published.protocol, f"published: {published.source}"),) if errors else ()


class Expected(NamedTuple):
    """What the weights of a network expect."""

    options: Mapping[str, Option]
    """The options of the network that they are of."""
    crop: Crop
    """The crop of an image that the network sees."""
    normalization: Normalization
    published: PublishedWeights | None = None
    """The published weights that they are; None for others."""
    facts: About | None = None
    """What their file says of the network; None for other files than those of `jaxcnn export`."""


def what_weights_expect(name: str, weights: str | None) -> Expected:
    """Returns what weights of a network expect, without reading them: see `load_published`.

    Raises:
        UserError: there is no such model, there are no published weights of that name, none are named, or a file that
            seems to be of `jaxcnn export` says something else of its network.
    """
    variant = get_variant(name)
    if weights is None:
        sources = [entry.source for entry in published_weights(name)]
        sources[5:] = [f"{len(sources) - 5} more"] if len(sources) > 5 else []
        known = "".join(f"{source}, " for source in sources)
        raise ConfigError(
            f"{name} is a model and not a run folder, so it needs weights: name them with --weights, {known}or a file"
        )
    published = find_published(name, weights) if is_published(weights) else published_file(name, Path(weights))
    if published is not None:
        options = published.options
        crop: Crop = Resize(size=published.crop, interpolation=published.interpolation)
        if published.resize is not None:
            crop = CenterCrop(size=published.crop, resize=published.resize, interpolation=published.interpolation)
        normalization = Normalization(mean=published.mean, std=published.std)
    elif (stored := read_facts(Path(weights))) is not None:
        facts = read(stored, weights)
        options = facts.options if facts.model == name else {}
        return Expected(options, facts.expects.crop, facts.expects.normalization, facts=facts)
    else:
        options = next((entry.options for entry in published_weights(name)), {})
        crop = CenterCrop(size=variant.input_size, resize=round(variant.input_size / 0.875))
        normalization = Normalization()
        if variant.channels == 1:
            # Grey is the mean of the three.
            mean, std = (sum(three) / 3 for three in (normalization.mean, normalization.std))
            normalization = Normalization(mean=(mean,), std=(std,))
    return Expected(options, crop, normalization, published)


def initial_variables(config: TrainConfig) -> Variables | None:
    """Returns the variables that a run starts from, where ``config.init_from`` names some; else None.

    The classifier starts anew where its number of classes differs, or where ``finetune.new_head`` says so.

    Args:
        config: the options of the run, with everything resolved.

    Raises:
        UserError: the weights cannot be read or fetched, or are not the network's.
    """
    if config.init_from is None:
        return None
    source: Source = config.init_from
    if folder := run_folder(config.init_from):
        source = load_run(folder).variables
    options: dict[str, Option] = {"num_classes": config.model.num_classes, **model_options(config.model)}
    return load_pretrained(
        config.model.name, source, ignore=config.ignore, new_classifier=config.finetune.new_head, **options
    )
