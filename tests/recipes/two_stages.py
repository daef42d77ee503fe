"""Seconds of training of a network with two stages, and with all that freezing must hold still."""

from jaxcnn.config import (
    SGD,
    CheckpointConfig,
    DataConfig,
    EMAConfig,
    EvaluationConfig,
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

if "two_stages" not in list_models():
    arguments = {"block_type": BasicBlock, "stage_sizes": (1, 1), "width": 4, "stem": "cifar", "shortcut": "projection"}
    register(Variant("two_stages", "two_stages", ResNet, arguments, input_size=8, channels=1, num_classes=10))

config = TrainConfig(
    name="two_stages",
    epochs=1.0,
    log_every_steps=3,
    model=ModelConfig(name="two_stages", options={"dropout_rate": 0.1, "drop_path_rate": 0.2}),
    data=DataConfig(
        name="digits", channels=1, batch_size=64, train_crop=Resize(size=8), evaluation_crop=Resize(size=8)
    ),
    augmentations=(RandomCrop(padding=1),),
    normalization=Normalization(mean=(0.3,), std=(0.37,)),
    optimizer=SGD(schedule=ScheduleConfig(warmup_epochs=0.2)),
    ema=EMAConfig(decay=0.9),
    evaluation=EvaluationConfig(batch_size=120),
    checkpoint=CheckpointConfig(every_steps=4),
)
