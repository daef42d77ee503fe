"""EfficientNet-B0 on ILSVRC-2012 by its authors' code, with AutoAugment: published 22.9 / 6.7 % error.

The options are those of efficientnet_b0_imagenet.py with AutoAugment, as in the later versions of the paper
(arXiv:1905.11946). The published figure is for the moving average (``ema_top1_error``) and a single, bicubic centre
crop of 7/8 of the short side. It is the paper's, not one measured here.
"""

from jaxcnn.config import (
    AutoAugment,
    CenterCrop,
    DataConfig,
    EMAConfig,
    EvaluationConfig,
    HorizontalFlip,
    LossConfig,
    ModelConfig,
    PublishedConfig,
    RandomResizedCrop,
    RMSProp,
    ScheduleConfig,
    TrainConfig,
)

config = TrainConfig(
    name="efficientnet_b0_imagenet_autoaugment",
    epochs=350.0,
    log_every_steps=100,
    model=ModelConfig(
        name="efficientnet_b0",
        options={"padding": "same", "batch_norm_epsilon": 1e-3, "batch_norm_momentum": 0.99},
    ),
    data=DataConfig(
        name="tfds:imagenet2012",
        batch_size=2048,
        train_crop=RandomResizedCrop(interpolation="bicubic"),
        evaluation_crop=CenterCrop(interpolation="bicubic"),
    ),
    augmentations=(HorizontalFlip(), AutoAugment()),
    optimizer=RMSProp(
        learning_rate=0.128,
        decay=0.9,
        momentum=0.9,
        epsilon=1e-3,
        weight_decay=1e-5,
        schedule=ScheduleConfig(kind="exponential", factor=0.97, every_epochs=2.4, warmup_epochs=5.0),
    ),
    loss=LossConfig(label_smoothing=0.1),
    ema=EMAConfig(decay=0.9999),
    evaluation=EvaluationConfig(batch_size=2048),
    published=PublishedConfig(
        top1_error=22.9,
        top5_error=6.7,
        protocol="centre crop, ILSVRC-2012 validation",
        source="arXiv:1905.11946, table 2, later versions",
    ),
)
