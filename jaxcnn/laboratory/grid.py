"""Grids of compilations: networks and recipes, and the options that change the program of their training step."""

import dataclasses
import functools
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from jaxcnn.config import SGD, DataConfig, ModelConfig, Normalization, Resize, TrainConfig
from jaxcnn.data.pipeline import Data
from jaxcnn.data.stand_in import ILSVRC2012_SIZES, stand_in
from jaxcnn.errors import UserError, nearest
from jaxcnn.laboratory.dry_run import data_or_stand_in
from jaxcnn.models.parts import parts_of
from jaxcnn.models.registry import get_variant, list_models
from jaxcnn.networks import make_model
from jaxcnn.recipes import find_recipes, load_recipe, run_folder

IMAGES_A_DEVICE = 32
"""The number of images on each device in the step of a network, where nothing else is asked for."""
Wrapper = Literal["jit", "shard_map", "pmap"]
DType = Literal["float32", "bfloat16", "float16"]
Layers = Literal["ours", "flax"]
Switch = Literal["off", "on"]


@dataclasses.dataclass(frozen=True)
class Subject:
    """What is compiled: the training step of a recipe, or that of a network without a recipe."""

    name: str
    config: TrainConfig
    data: Data
    """The data set, or a stand-in for it: a network's, and ILSVRC-2012 where it is not prepared."""
    is_recipe: bool
    source: str = ""
    """The text of the recipe's file and of the modules beside it; empty for a network."""

    @functools.cached_property
    def stages(self) -> tuple[int, ...]:
        """The stages of the network, which ``model.remat`` counts from 1."""
        config = dataclasses.replace(self.config.model, remat=())
        height, width, channels = self.data.train.image_shape
        parts = parts_of(make_model(config, config.num_classes or 1000), (height, width, channels))
        return tuple(parts.stages)


def subject(name: str) -> Subject:
    """Returns the recipe or the network that a name stands for; where both exist, the recipe.

    A network's step is forward, backward, SGD with momentum and weight decay, and batch statistics, on the uint8 images
    of a data set that need not be there, which are normalized but not augmented.

    Args:
        name: the name of a recipe or a model, or the path of a recipe or a run folder.

    Raises:
        UserError: there is no such recipe or network, the recipe is wrong, or its data set is not there.
    """
    recipes, models = find_recipes(), list_models()
    if Path(name).name == name and name not in recipes and run_folder(name) is None:
        if name in models:
            config = of_network(name)
            data = stand_in(config.data, ILSVRC2012_SIZES, get_variant(name).num_classes)
            return Subject(name, config, data, is_recipe=False)
        if not Path(name).is_file():
            raise UserError(f"there is no model or recipe {name!r}: {nearest(name, [*recipes, *models])}")
    recipe = load_recipe(name)
    source = "\0".join([recipe.source or "", *recipe.modules.values()])
    data, _ = data_or_stand_in(recipe.config.data)
    return Subject(name, recipe.config, data, is_recipe=True, source=source)


def of_network(name: str) -> TrainConfig:
    """Returns the config of the plain training step of a network, on images of its own size and ILSVRC-2012's number.

    Raises:
        ModelError: there is no such network.
    """
    variant = get_variant(name)
    size = Resize(size=variant.input_size)
    return TrainConfig(
        name=name,
        model=ModelConfig(name=name),
        data=DataConfig(
            name="tfds:imagenet2012",
            channels=variant.channels,
            batch_size=IMAGES_A_DEVICE,
            train_crop=size,
            evaluation_crop=size,
        ),
        normalization=Normalization() if variant.channels == 3 else Normalization(mean=(0.5,), std=(0.5,)),
        optimizer=SGD(),
    )


@dataclasses.dataclass(frozen=True)
class Point:
    """One compilation, with everything that tells it apart from the others of a report."""

    network: str
    """The name of the network, or the name or path of the recipe."""
    topology: str | None
    """The devices that are compiled for; None for those of this process."""
    batch_size: int
    """The number of images in a batch, over all devices."""
    dtype: DType
    lowering: str
    remat: tuple[int, ...]
    wrapper: Wrapper
    layers: Layers = "ours"
    """Whose convolution, normalization and pooling compute: see `jaxcnn.plain_flax`."""
    scan: bool = False
    """Whether the equal blocks of a stage are computed in a loop."""

    @property
    def title(self) -> str:
        """The name of the network or recipe without the folder that it is in."""
        path = Path(self.network)
        return path.stem if path.suffix in (".py", ".json") else path.name or self.network

    @property
    def label(self) -> str:
        """The options in a few words, as they stand in tables and in the names of files."""
        stages = "+".join(map(str, self.remat))
        parts = [self.title, self.topology or "here", f"b{self.batch_size}", self.dtype]
        parts += [self.lowering] * (self.lowering != "auto") + [f"remat {stages}"] * bool(self.remat)
        parts += [self.wrapper] * (self.wrapper != "jit") + ["plain Flax"] * (self.layers == "flax")
        parts += ["scanned"] * self.scan
        return " ".join(parts)

    def config(self, of: TrainConfig) -> TrainConfig:
        """Returns the config of a subject with the options of this point."""
        return dataclasses.replace(
            of,
            model=dataclasses.replace(
                of.model, dtype=self.dtype, lowering=self.lowering, remat=self.remat, scan=self.scan
            ),
            data=dataclasses.replace(of.data, batch_size=self.batch_size),
            parallel=dataclasses.replace(of.parallel, wrapper=self.wrapper),
        )


OPTIONS = tuple(field.name for field in dataclasses.fields(Point))
"""The names of the options of a point."""


@dataclasses.dataclass(frozen=True)
class Grid:
    """The values that each option takes in turn; where there are none, the one that the recipe has."""

    topology: tuple[str, ...] = ()
    """Devices that need not be there, such as h100:8, h100:4x8 or v5e:4x4, or list, which shows them all; by default
    those of this process."""
    batch: tuple[int, ...] = ()
    """Numbers of images in a batch, over all devices."""
    batch_per_device: tuple[int, ...] = ()
    """Numbers of images on each device, instead of those of a whole batch."""
    dtype: tuple[DType, ...] = ()
    """Data types of the computation."""
    lowering: tuple[str, ...] = ()
    """Lowerings of convolutions: auto, xla, gemm, shift, dense, toeplitz, rows, winograd, or a file of tuned ones."""
    remat: tuple[str, ...] = ()
    """Sets of stages whose activations are computed again: none, all, or numbers as in 1+2."""
    wrapper: tuple[Wrapper, ...] = ()
    """Transformations that spread the step over the devices."""
    layers: tuple[Layers, ...] = ("ours",)
    """Whose layers compute: ours, or flax.linen's, to compare with."""
    scan: tuple[Switch, ...] = ()
    """Whether the equal blocks of a stage are computed in a loop."""

    def points(self, subjects: Sequence[Subject], devices: Mapping[str | None, int]) -> list[tuple[Point, Subject]]:
        """Returns the points of the grid, each once: the networks in order, and of each the last option first.

        Args:
            subjects: what is compiled.
            devices: the number of devices of each topology; that of this process under None.

        Raises:
            UserError: a batch or a set of stages is impossible.
        """
        if self.batch and self.batch_per_device:
            raise UserError(
                "--batch and --batch-per-device both say how large a batch is: give the size of the whole batch, or "
                "that of each device's part"
            )
        for option, sizes in (("--batch", self.batch), ("--batch-per-device", self.batch_per_device)):
            if any(size < 1 for size in sizes):
                raise UserError(f"{option} {min(sizes)} is no number of images: give at least 1")
        found: dict[Point, Subject] = {}
        for each in subjects:
            config = each.config
            values = (
                self.topology or (None,),
                self.dtype or (config.model.dtype,),
                self.lowering or (config.model.lowering,),
                [_stages(text, each) for text in self.remat] or [config.model.remat],
                self.wrapper or (config.parallel.wrapper,),
                self.layers,
                [each == "on" for each in self.scan] or (config.model.scan,),
            )
            for topology, dtype, lowering, remat, wrapper, layers, scan in itertools.product(*values):
                for batch_size in self._batch_sizes(each, devices[topology]):
                    point = Point(each.name, topology, batch_size, dtype, lowering, remat, wrapper, layers, scan)
                    found.setdefault(point, each)
        return list(found.items())

    def _batch_sizes(self, of: Subject, devices: int) -> Sequence[int]:
        if self.batch:
            return self.batch
        if self.batch_per_device:
            return [size * devices for size in self.batch_per_device]
        return [of.config.data.batch_size if of.is_recipe else IMAGES_A_DEVICE * devices]


def _stages(text: str, of: Subject) -> tuple[int, ...]:
    """Returns the stages that a text names: ``none``, ``all``, or ``1+2``."""
    if text == "none":
        return ()
    if text == "all":
        return of.stages
    try:
        stages = tuple(sorted({int(part) for part in text.split("+")}))
    except ValueError:
        raise UserError(f"--remat {text!r} names no stages: give none, all, or numbers as in 1+2") from None
    if wrong := [stage for stage in stages if stage not in of.stages]:
        raise UserError(f"--remat names stage {wrong[0]}, and {of.name} has stages 1 to {max(of.stages, default=0)}")
    return stages
