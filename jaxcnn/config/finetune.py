"""The options of fine-tuning: which parameters are trained, and at which rates."""

import dataclasses
from typing import Annotated

from pydantic import Field

from jaxcnn.config.options import PositiveFloat, option_group


@option_group
class FinetuneConfig:
    """Which part of the network is trained, and at which rates; by default all of it, at one rate.

    Parameters are named in one of three ways: by a stage's number, as ``model.remat`` counts them; as ``stem``,
    ``neck``, ``head`` or ``trunk``; or by a pattern, as a shell matches, of their paths or of the path of a module
    above them: ``stage1_*``, ``*norm*/scale``. The stem is what comes before the first stage and the neck what follows
    the last, where a network has such layers; the head is what depends on the number of classes, with the auxiliary
    heads; the trunk is all but the head.
    """

    frozen: tuple[str, ...] = ()
    """The parameters that stay as they are. They get no gradient, no update and no memory of the optimizer. Batch
    normalization that is frozen runs on its running statistics and leaves them, and in what is frozen nothing is
    dropped out."""
    freeze_statistics: bool = False
    """Whether all batch normalization runs on its running statistics and leaves them, that of trained layers too."""
    rate_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """The factor by which the learning rate falls from stage to stage, from the head down: the head has the whole rate,
    the last stage and the neck have this share of it, the stage before has its square, and so on to the stem. BEiT and
    ConvNeXt are fine-tuned like this, with 0.8 for each of ConvNeXt's twelve groups of blocks, which is about 0.5 for
    each of its four stages."""
    rates: dict[str, PositiveFloat] = dataclasses.field(default_factory=dict)
    """The factors of the learning rate of some parameters, by their names. Where several names, or ``rate_decay``,
    apply to a parameter, its rate is multiplied by all their factors."""
    new_head: bool = False
    """Whether the classifier starts anew although the weights of ``init_from`` have one of as many classes."""
