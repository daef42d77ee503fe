"""AlexNet on ILSVRC-2012 as torchvision's references train it (IMAGENET1K_V1): published 43.478 / 20.934 % error.

The options are those of references/classification/README.md: batch 256 over 8 GPUs, SGD, 90 epochs, and the rate
divided by ten every 30. The network is torchvision's, of 2014. The published figure, for a single centre crop of each
of 50,000 images, is torchvision's, not one measured here.
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
    name="alexnet_imagenet",
    epochs=90.0,
    log_every_steps=100,
    model=ModelConfig(name="alexnet"),
    data=DataConfig(
        name="tfds:imagenet2012", batch_size=256, train_crop=RandomResizedCrop(), evaluation_crop=CenterCrop()
    ),
    augmentations=(HorizontalFlip(),),
    optimizer=SGD(
        learning_rate=0.01,
        momentum=0.9,
        weight_decay=1e-4,
        schedule=ScheduleConfig(kind="step", milestones=(30.0, 60.0), factor=0.1),
    ),
    evaluation=EvaluationConfig(batch_size=256),
    published=PublishedConfig(
        top1_error=43.478,
        top5_error=20.934,
        protocol="centre crop 224 of 256, ILSVRC-2012 validation",
        source="torchvision 0.28, IMAGENET1K_V1",
    ),
)
