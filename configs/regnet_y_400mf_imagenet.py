"""RegNetY-400MF on ILSVRC-2012 as its paper trains it (arXiv:2003.13678): published 25.898 / 8.07 % error.

Training takes 100 epochs of SGD at batch 1024 and a rate of 0.8, with 5 epochs of warm-up and a cosine, on crops of
random area and aspect ratio, mirrored, with AlexNet's lighting. The widths are the paper's. Nesterov's momentum, a
warm-up from a tenth of the rate, and a rate that moves every epoch are taken from the authors' code (pycls). The
published figure is the mean of the authors' five runs, not one measured here.
"""

from jaxcnn.config import (
    SGD,
    CenterCrop,
    DataConfig,
    EvaluationConfig,
    HorizontalFlip,
    Lighting,
    ModelConfig,
    PublishedConfig,
    RandomResizedCrop,
    ScheduleConfig,
    TrainConfig,
)

config = TrainConfig(
    name="regnet_y_400mf_imagenet",
    epochs=100.0,
    log_every_steps=100,
    model=ModelConfig(name="regnet_y_400mf", options={"widths": "paper"}),
    data=DataConfig(
        name="tfds:imagenet2012", batch_size=1024, train_crop=RandomResizedCrop(), evaluation_crop=CenterCrop()
    ),
    augmentations=(HorizontalFlip(), Lighting()),
    optimizer=SGD(
        learning_rate=0.8,
        momentum=0.9,
        nesterov=True,
        weight_decay=5e-5,
        schedule=ScheduleConfig(kind="cosine", warmup_epochs=5.0, warmup_start=0.1, moves="every_epoch"),
    ),
    evaluation=EvaluationConfig(batch_size=1024),
    published=PublishedConfig(
        top1_error=25.898,
        top5_error=8.07,
        protocol="centre crop 224 of 256, ILSVRC-2012 validation, mean of 5 runs",
        source="arXiv:2003.13678 and pycls; widths='paper'",
    ),
)
