"""LeNet on Fashion-MNIST (``idx:FOLDER``), as `lenet_mnist` trains it, with mirror images instead of crops."""

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
    ScheduleConfig,
    TrainConfig,
)

config = TrainConfig(
    name="lenet_fashion_mnist",
    epochs=15.0,
    log_every_steps=100,
    model=ModelConfig(name="lenet"),
    data=DataConfig(
        name="idx:/usr/share/datasets/fashion-mnist",  # where Debian's package dataset-fashion-mnist puts it
        channels=1,
        batch_size=128,
        train_crop=Pad(size=32),
        evaluation_crop=Pad(size=32),
    ),
    augmentations=(HorizontalFlip(),),
    normalization=Normalization(mean=(0.286,), std=(0.353,)),
    optimizer=SGD(
        learning_rate=0.05,
        weight_decay=5e-4,
        decayed="kernels",
        schedule=ScheduleConfig(kind="cosine", warmup_epochs=1.0),
    ),
    evaluation=EvaluationConfig(batch_size=1000),
    checkpoint=CheckpointConfig(keep=2),
    published=PublishedConfig(
        top1_error=8.4,
        protocol="two convolutions with pooling, test images",
        source="Fashion-MNIST's README, table of benchmarks",
    ),
)
