"""ResNet-20 for CIFAR on Fashion-MNIST (``idx:FOLDER``): at most 15 epochs to 7 % top-1 error or less.

The images are padded to 32 pixels, cropped at random and mirrored, much as arXiv:1512.03385, section 4.2 does with
CIFAR's. A batch is half of the paper's, because eight epochs have few steps.
"""

from jaxcnn.config import (
    SGD,
    CheckpointConfig,
    DataConfig,
    EvaluationConfig,
    HorizontalFlip,
    ModelConfig,
    Normalization,
    Pad,
    PublishedConfig,
    RandomCrop,
    ScheduleConfig,
    TrainConfig,
)

config = TrainConfig(
    name="resnet20_fashion_mnist",
    epochs=8.0,
    log_every_steps=200,
    model=ModelConfig(name="resnet20_cifar"),
    data=DataConfig(
        name="idx:/usr/share/datasets/fashion-mnist",  # where Debian's package dataset-fashion-mnist puts it
        channels=1,
        batch_size=64,
        train_crop=Pad(size=32),
        evaluation_crop=Pad(size=32),
    ),
    augmentations=(RandomCrop(padding=2), HorizontalFlip()),
    normalization=Normalization(mean=(0.286,), std=(0.353,)),
    optimizer=SGD(
        learning_rate=0.1,
        weight_decay=5e-4,
        decayed="kernels",
        schedule=ScheduleConfig(kind="cosine", warmup_epochs=1.0),
    ),
    evaluation=EvaluationConfig(batch_size=500, every_epochs=2),
    checkpoint=CheckpointConfig(every_steps=100, keep=2),
    published=PublishedConfig(
        top1_error=5.1, protocol="a ResNet-18, test images", source="Fashion-MNIST's README, table of benchmarks"
    ),
)
