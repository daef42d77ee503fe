"""The options of the optimizers, and of the schedule of the learning rate.

All optimizers, ours and others, are registered in `jaxcnn.training.optimizer`.
"""

from typing import Annotated, Literal

from pydantic import Field

from jaxcnn.config.options import NonNegativeFloat, PositiveFloat, Probability, option_group, shared_options
from jaxcnn.config.registry import Role

Decay = Annotated[float, Field(ge=0, lt=1)]
"""The share of itself that a running average keeps at each step."""
Decayed = Literal["all", "not_norms", "kernels"]


@option_group
class ScheduleConfig:
    """How the learning rate changes; times are in epochs, may be fractions, and count from the start of training."""

    kind: Literal["constant", "step", "exponential", "cosine"] = "cosine"
    warmup_epochs: NonNegativeFloat = 0.0
    """The length of the warm-up, in which the rate rises linearly, before the rest."""
    warmup_start: Probability = 0.0
    """The share of the learning rate that warm-up starts from: 0.01 in torchvision's recipes."""
    milestones: tuple[PositiveFloat, ...] = (30.0, 60.0, 80.0)
    """The times at which, with ``step``, the rate is multiplied by ``factor``."""
    every_epochs: PositiveFloat = 2.4
    """The time after which, with ``exponential``, the rate is multiplied by ``factor`` again; it stays the same in
    between. 2.4, with a factor of 0.97, in EfficientNet's and NASNet's code."""
    factor: PositiveFloat = 0.1
    minimum_rate: NonNegativeFloat = 0.0
    """The rate at which ``cosine`` ends."""
    moves: Literal["every_step", "every_epoch"] = "every_step"
    """The times at which the rate changes: with ``every_epoch`` it stays during each epoch, in warm-up too, what it is
    at the epoch's start, as in torchvision's reference scripts."""


@shared_options
class Optimizer(Role):
    """How parameters are updated. Every kind has these options; it may declare them again with defaults of its own.

    Kinds are registered by `jaxcnn.training.optimizer.register_optimizer`.
    """

    registry = "jaxcnn.training.optimizer:OPTIMIZERS"
    stays = ("schedule",)

    learning_rate: PositiveFloat = 1e-3
    """The learning rate after warm-up, from which ``schedule`` moves it."""
    weight_decay: NonNegativeFloat = 0.0
    decayed: Decayed = "kernels"
    """The parameters that weight decay is for: ``not_norms`` leaves normalization's scales and biases alone
    (torchvision's ``norm_weight_decay=0``), ``kernels`` the biases of convolutions and dense layers too."""
    clip_norm: PositiveFloat | None = None
    """The global norm to which larger gradients are scaled down, all by one factor, before weight decay."""
    schedule: ScheduleConfig = ScheduleConfig()


@option_group
class SGD(Optimizer):
    """Mini-batch SGD: v <- momentum v + (gradient + weight_decay w); w <- w - learning_rate v."""

    learning_rate: PositiveFloat = 0.1
    momentum: Decay = 0.9
    nesterov: bool = False
    weight_decay: NonNegativeFloat = 1e-4
    decayed: Decayed = "all"
    clip_norm: PositiveFloat | None = None
    schedule: ScheduleConfig = ScheduleConfig()
    kind: Literal["sgd"] = "sgd"


@option_group
class RMSProp(Optimizer):
    """RMSProp as in TensorFlow 1, where Inception v3, NASNet and EfficientNet were trained.

    g = gradient + weight_decay w; s <- decay s + (1 - decay) g^2, from s = 1; v <- momentum v + learning_rate g /
    sqrt(s + epsilon); w <- w - v. ``torch.optim.RMSprop`` differs in three ways: s starts at 0, epsilon is added
    outside the root, and the learning rate is applied after the momentum.
    """

    learning_rate: PositiveFloat = 0.016
    decay: Decay = 0.9
    momentum: Decay = 0.9
    epsilon: PositiveFloat = 1e-3
    weight_decay: NonNegativeFloat = 1e-5
    decayed: Decayed = "kernels"
    clip_norm: PositiveFloat | None = None
    schedule: ScheduleConfig = ScheduleConfig(kind="exponential", factor=0.97)
    kind: Literal["rmsprop"] = "rmsprop"


@option_group
class AdamW(Optimizer):
    """Adam with decoupled weight decay (arXiv:1711.05101): w <- w - learning_rate (m / (sqrt(s) + epsilon) + decay w).

    m and s are the running means of gradient and squared gradient, corrected for their start at 0, as in
    ``torch.optim.AdamW``.
    """

    learning_rate: PositiveFloat = 1e-3
    beta1: Decay = 0.9
    beta2: Decay = 0.999
    epsilon: PositiveFloat = 1e-8
    weight_decay: NonNegativeFloat = 0.05
    decayed: Decayed = "kernels"
    clip_norm: PositiveFloat | None = None
    schedule: ScheduleConfig = ScheduleConfig()
    kind: Literal["adamw"] = "adamw"


@option_group
class LAMB(Optimizer):
    """AdamW's update u of each parameter tensor w, scaled to the tensor's own norm (arXiv:1904.00962, algorithm 2).

    w <- w - learning_rate ||w|| / ||u|| u; where one of the norms is 0, the ratio is 1.
    """

    learning_rate: PositiveFloat = 5e-3
    beta1: Decay = 0.9
    beta2: Decay = 0.999
    epsilon: PositiveFloat = 1e-6
    weight_decay: NonNegativeFloat = 0.02
    decayed: Decayed = "kernels"
    scaled: Literal["all", "decayed"] = "all"
    """The updates that are scaled: the paper's ``all``, or with timm only those of ``decayed`` parameters."""
    clip_norm: PositiveFloat | None = None
    """The global norm to which larger gradients are scaled down, all by one factor, before weight decay. timm's LAMB
    clips at 1 unless told otherwise."""
    schedule: ScheduleConfig = ScheduleConfig()
    kind: Literal["lamb"] = "lamb"
