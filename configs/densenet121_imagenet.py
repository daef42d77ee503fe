"""DenseNet-121 on ILSVRC-2012 as its paper trains it (arXiv:1608.06993): published 25.02 / 7.71 % error.

Training takes 90 epochs of SGD with Nesterov's momentum at batch 256. The rate is divided by ten at epochs 30 and 60,
all parameters are decayed, and augmentation is that of fb.resnet.torch, whose crops are bicubic. The interpolation of
the centre crop is our choice. The published figure is the paper's, not one measured here.
"""

from jaxcnn.config import (
    SGD,
    CenterCrop,
    ColorJitter,
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
    name="densenet121_imagenet",
    epochs=90.0,
    log_every_steps=100,
    model=ModelConfig(name="densenet121"),
    data=DataConfig(
        name="tfds:imagenet2012",
        batch_size=256,
        train_crop=RandomResizedCrop(interpolation="bicubic"),
        evaluation_crop=CenterCrop(interpolation="bicubic"),
    ),
    augmentations=(HorizontalFlip(), ColorJitter(), Lighting()),
    optimizer=SGD(
        learning_rate=0.1,
        momentum=0.9,
        nesterov=True,
        weight_decay=1e-4,
        schedule=ScheduleConfig(kind="step", milestones=(30.0, 60.0), factor=0.1),
    ),
    evaluation=EvaluationConfig(batch_size=256),
    published=PublishedConfig(
        top1_error=25.02,
        top5_error=7.71,
        protocol="centre crop 224, ILSVRC-2012 validation",
        source="arXiv:1608.06993, table 3",
    ),
)
