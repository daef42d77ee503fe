"""LeNet on scikit-learn's 8x8 digits, scaled to 32x32: the default recipe, done in seconds."""

from jaxcnn.config import (
    SGD,
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
    name="lenet_digits",
    epochs=40.0,
    log_every_steps=20,
    model=ModelConfig(name="lenet"),
    data=DataConfig(
        name="digits",
        channels=1,
        batch_size=64,
        train_crop=Resize(size=32, interpolation="bicubic"),
        evaluation_crop=Resize(size=32, interpolation="bicubic"),
    ),
    augmentations=(RandomCrop(padding=2),),
    normalization=Normalization(mean=(0.3,), std=(0.37,)),
    optimizer=SGD(
        learning_rate=0.05,
        weight_decay=5e-4,
        decayed="kernels",
        schedule=ScheduleConfig(kind="cosine", warmup_epochs=1.0),
    ),
    evaluation=EvaluationConfig(batch_size=360, every_epochs=5),
)
