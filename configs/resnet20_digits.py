"""ResNet-20 for CIFAR on the embedded digits: batch statistics in a minute, saved often."""

from jaxcnn.config import (
    SGD,
    CheckpointConfig,
    DataConfig,
    EvaluationConfig,
    ModelConfig,
    Normalization,
    RandomCrop,
    Resize,
    ScheduleConfig,
    TrainConfig,
)

config = TrainConfig(
    name="resnet20_digits",
    epochs=4.0,
    log_every_steps=5,
    model=ModelConfig(name="resnet20_cifar"),
    data=DataConfig(
        name="digits",
        channels=1,
        batch_size=64,
        train_crop=Resize(size=16, interpolation="bicubic"),
        evaluation_crop=Resize(size=16, interpolation="bicubic"),
    ),
    augmentations=(RandomCrop(padding=1),),
    normalization=Normalization(mean=(0.3,), std=(0.37,)),
    optimizer=SGD(
        learning_rate=0.1,
        weight_decay=5e-4,
        decayed="kernels",
        schedule=ScheduleConfig(kind="cosine", warmup_epochs=0.5),
    ),
    evaluation=EvaluationConfig(batch_size=360),
    checkpoint=CheckpointConfig(every_steps=5),
)
