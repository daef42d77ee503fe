"""Fine-tuning: the recipe that trains a network with pretrained weights on other images."""

import dataclasses
from pathlib import Path

from jaxcnn.config import (
    SGD,
    AdamW,
    Augmentation,
    Crop,
    DataConfig,
    FinetuneConfig,
    HorizontalFlip,
    ModelConfig,
    Optimizer,
    RandomResizedCrop,
    ScheduleConfig,
    TrainConfig,
)
from jaxcnn.errors import UserError, nearest
from jaxcnn.loading import what_weights_expect
from jaxcnn.models.registry import get_variant, list_models
from jaxcnn.recipes import SHIPPED, Recipe, load_recipe, run_folder

EPOCHS = 30.0
BATCH_SIZE = 64
RATE_DECAY_OF_CONVNEXT = 0.5
"""The factor from stage to stage. ConvNeXt's authors have 0.8 for each of twelve groups of three or so blocks."""


def finetuning(name: str, weights: str | None = None, data: str | None = None) -> Recipe:
    """Returns the recipe of a fine-tuning, whose config `jaxcnn.train` takes, as it is or with other options.

    For a model the recipe is ours: the crop and the normalization are those that the weights expect, with random
    resized crops and mirror images in training, or for the weights of a run as that run has them; the classifier starts
    anew. The optimizer is SGD at a rate of 0.01 with a momentum of 0.9 and a weight decay of 1e-4, the usual choice
    that "Rethinking the Hyperparameters for Fine-tuning" (arXiv:2002.11770, section 1) names, and starts from. For
    ConvNeXt it is AdamW at 5e-5 with a weight decay of 1e-8 and a rate that falls from stage to stage, without MixUp
    and CutMix, as its authors fine-tune it (arXiv:2201.03545, table 5, and the commands beside their code). The cosine,
    the 30 epochs, which ConvNeXt's authors have too, and the batch of 64 images are taken for all.

    Args:
        name: the name of a model; or a recipe or a run folder, as `load_recipe` takes it.
        weights: the weights to start from: published ones, a file or a run folder. A recipe or a run that names some
            itself needs none.
        data: the name of the data set, as ``folder:PATH``. A recipe or a run needs none.

    Raises:
        UserError: there is no such model, recipe or run, no weights or no images are named, or the weights are a run's
            that has trained another network.
    """
    folder = None if weights is None else run_folder(weights)
    run = None if folder is None else load_recipe(folder)  # the model may be one that the run's recipe registers
    if name in list_models():
        recipe = _of_model(name, weights, data, run)
    else:
        recipe = _found(name)
        if data is not None:
            with_images = dataclasses.replace(recipe.config.data, name=data)
            recipe = dataclasses.replace(recipe, config=dataclasses.replace(recipe.config, data=with_images))
        if weights is not None:
            recipe = dataclasses.replace(recipe, config=dataclasses.replace(recipe.config, init_from=weights))
    if recipe.config.init_from is None and recipe.run is not None:
        raise UserError(
            f"{name} is a run that starts from no weights: to start from it, say `jaxcnn finetune "
            f"{recipe.config.model.name} --weights {name} --data.name NAME`; to go on with it, `jaxcnn train {name}`"
        )
    if recipe.config.init_from is None:
        raise UserError(
            f"{name} starts from no weights: name them with --weights, or train it from scratch with `jaxcnn train "
            f"{name}`"
        )
    return recipe


def _found(name: str) -> Recipe:
    shipped = [path.stem for path in SHIPPED.glob("*.py")]
    if Path(name).name == name and name not in shipped and not Path(name).exists():
        raise UserError(f"there is no model, recipe or run folder {name}: {nearest(name, [*list_models(), *shipped])}")
    return load_recipe(name)


def _of_model(model: str, weights: str | None, data: str | None, run: Recipe | None) -> Recipe:
    """Returns our recipe for a model, with weights that may be those of a run."""
    source, modules = None, {}
    crops: tuple[Crop, Crop]
    augmentations: tuple[Augmentation, ...]
    if run is not None:
        # What the run's recipe registers is needed again, by the new run too.
        config, source, modules = run.config, run.source, run.modules
        if config.model.name != model:
            raise UserError(
                f"{weights} is a run of {config.model.name} and not of {model}: fine-tune that network, or name other "
                "weights"
            )
        options, normalization, channels = config.model.options, config.normalization, config.data.channels
        crops, augmentations = (config.data.train_crop, config.data.evaluation_crop), config.augmentations
    else:
        expected = what_weights_expect(model, weights)
        options, normalization, channels = expected.options, expected.normalization, get_variant(model).channels
        interpolation = getattr(expected.crop, "interpolation", "bilinear")
        crops = RandomResizedCrop(size=expected.crop.size, interpolation=interpolation), expected.crop
        augmentations = (HorizontalFlip(),)
    if data is None:
        raise UserError(f"{model} is given no images to train on: name them with --data.name, as folder:PATH")
    train_crop, evaluation_crop = crops
    convnext = get_variant(model).family == "convnext"
    config = TrainConfig(
        name=f"{model}_finetuned",
        epochs=EPOCHS,
        init_from=weights,
        finetune=FinetuneConfig(new_head=True, rate_decay=RATE_DECAY_OF_CONVNEXT if convnext else 1.0),
        model=ModelConfig(name=model, options=dict(options)),
        data=DataConfig(
            name=data,
            channels=channels,
            batch_size=BATCH_SIZE,
            train_crop=train_crop,
            evaluation_crop=evaluation_crop,
        ),
        augmentations=augmentations,
        normalization=normalization,
        optimizer=_optimizer(convnext=convnext),
    )
    return Recipe(config.name, config, source, modules)


def _optimizer(*, convnext: bool) -> Optimizer:
    if convnext:
        return AdamW(learning_rate=5e-5, weight_decay=1e-8, schedule=ScheduleConfig(kind="cosine"))
    return SGD(learning_rate=0.01, momentum=0.9, weight_decay=1e-4, schedule=ScheduleConfig(kind="cosine"))
