"""LeNet on MNIST (``tfds:mnist``, prepared): at most 15 epochs to 0.7 % top-1 error or less."""

from jaxcnn.config import (
    SGD,
    CheckpointConfig,
    DataConfig,
    EvaluationConfig,
    ModelConfig,
    Normalization,
    Pad,
    RandomCrop,
    ScheduleConfig,
    TrainConfig,
)

config = TrainConfig(
    name="lenet_mnist",
    epochs=15.0,
    log_every_steps=100,
    model=ModelConfig(name="lenet"),
    data=DataConfig(
        name="tfds:mnist", channels=1, batch_size=128, train_crop=Pad(size=32), evaluation_crop=Pad(size=32)
    ),
    augmentations=(RandomCrop(padding=2),),
    normalization=Normalization(mean=(0.1307,), std=(0.3081,)),
    optimizer=SGD(
        learning_rate=0.05,
        weight_decay=5e-4,
        decayed="kernels",
        schedule=ScheduleConfig(kind="cosine", warmup_epochs=1.0),
    ),
    evaluation=EvaluationConfig(batch_size=1000, every_epochs=1),
    checkpoint=CheckpointConfig(keep=2),
)
