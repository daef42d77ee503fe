"""RegNetX-800MF on ILSVRC-2012 as torchvision's references train it (IMAGENET1K_V1): published 24.788 / 7.652 % error.

The options are those of references/classification/README.md: batch 1024 over 8 GPUs, SGD and 100 epochs. The published
figure, for a single centre crop of each of 50,000 images, is torchvision's, not one measured here.
"""

from jaxcnn.config import (
    SGD,
    CenterCrop,
    DataConfig,
    EvaluationConfig,
    HorizontalFlip,
    ModelConfig,
    PublishedConfig,
    RandomResizedCrop,
    ScheduleConfig,
    TrainConfig,
)

config = TrainConfig(
    name="regnet_x_800mf_imagenet",
    epochs=100.0,
    log_every_steps=100,
    model=ModelConfig(name="regnet_x_800mf"),
    data=DataConfig(
        name="tfds:imagenet2012", batch_size=1024, train_crop=RandomResizedCrop(), evaluation_crop=CenterCrop()
    ),
    augmentations=(HorizontalFlip(),),
    optimizer=SGD(
        learning_rate=0.8,
        momentum=0.9,
        weight_decay=5e-5,
        schedule=ScheduleConfig(kind="cosine", warmup_epochs=5.0, warmup_start=0.1, moves="every_epoch"),
    ),
    evaluation=EvaluationConfig(batch_size=1024),
    published=PublishedConfig(
        top1_error=24.788,
        top5_error=7.652,
        protocol="centre crop 224 of 256, ILSVRC-2012 validation",
        source="torchvision 0.28, IMAGENET1K_V1; widths='torchvision'",
    ),
)
