"""ResNeXt-50 (32x4d) on ILSVRC-2012 after its paper (arXiv:1611.05431): published 22.2 % top-1 error.

The paper follows fb.resnet.torch: batch 256, SGD, weight decay of all parameters, crops of random area and aspect
ratio, colour jitter and lighting. It divides the rate by ten three times, and says neither when nor how long it trains:
100 epochs, and every 30 of them, are those of torchvision's command for this network. Nesterov's momentum and bicubic
crops are fb.resnet.torch's. The published figure is the paper's, not one measured here.
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
    name="resnext50_32x4d_imagenet",
    epochs=100.0,
    log_every_steps=100,
    model=ModelConfig(name="resnext50_32x4d"),
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
        schedule=ScheduleConfig(kind="step", milestones=(30.0, 60.0, 90.0), factor=0.1),
    ),
    evaluation=EvaluationConfig(batch_size=256),
    published=PublishedConfig(
        top1_error=22.2, protocol="centre crop 224, ILSVRC-2012 validation", source="arXiv:1611.05431, table 3"
    ),
)
