"""Seconds of training with everything in it: batch statistics, dropout, augmentation, warm-up, frequent checkpoints."""

from jaxcnn.config import (
    SGD,
    CheckpointConfig,
    DataConfig,
    EvaluationConfig,
    HorizontalFlip,
    ModelConfig,
    Normalization,
    RandomCrop,
    Resize,
    ScheduleConfig,
    TrainConfig,
)
from jaxcnn.models.registry import list_models, register
from jaxcnn.models.resnet import BasicBlock, ResNet
from jaxcnn.models.variant import Variant

if "tiny" not in list_models():
    tiny = {"block_type": BasicBlock, "stage_sizes": (1,), "width": 4, "stem": "cifar", "shortcut": "identity"}
    register(Variant("tiny", "tiny", ResNet, tiny, input_size=8, channels=1, num_classes=10))

config = TrainConfig(
    name="tiny",
    epochs=2.0,
    log_every_steps=3,
    model=ModelConfig(name="tiny", options={"dropout_rate": 0.1}),
    data=DataConfig(
        name="digits", channels=1, batch_size=64, train_crop=Resize(size=8), evaluation_crop=Resize(size=8)
    ),
    augmentations=(RandomCrop(padding=1), HorizontalFlip(probability=0.1)),
    normalization=Normalization(mean=(0.3,), std=(0.37,)),
    optimizer=SGD(schedule=ScheduleConfig(warmup_epochs=0.5)),
    evaluation=EvaluationConfig(batch_size=100),
    checkpoint=CheckpointConfig(every_steps=4),
)
