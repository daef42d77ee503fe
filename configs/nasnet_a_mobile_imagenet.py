"""NASNet-A (mobile) on ILSVRC-2012 as its authors' code notes it (arXiv:1707.07012): published 26.0 / 8.4 % error.

Training takes 250,000 steps of 50 x 32 images at a rate of 50 x 0.04, with 3 % off the rate every 2.4 epochs, gradients
clipped at a norm of 10, label smoothing, an auxiliary head and no drop-path; it is measured on the moving average
(``ema_top1_error``). RMSProp with an epsilon of 1 and an average that keeps 0.9999 are quoted from the paper's appendix
and were not checked against it. A momentum of 0.9 and pixels from -1 to 1 are those of the same authors' Inception v3.
Crops are GoogLeNet's. The published figure is the authors', not one measured here.
"""

from jaxcnn.config import (
    CenterCrop,
    DataConfig,
    EMAConfig,
    EvaluationConfig,
    HorizontalFlip,
    LossConfig,
    ModelConfig,
    Normalization,
    PublishedConfig,
    RandomResizedCrop,
    RMSProp,
    ScheduleConfig,
    TrainConfig,
)

config = TrainConfig(
    name="nasnet_a_mobile_imagenet",
    epochs=250_000 * 1600 / 1_281_167,
    log_every_steps=100,
    model=ModelConfig(name="nasnet_a_mobile", options={"auxiliary_heads": True, "drop_path_rate": 0.0}),
    data=DataConfig(
        name="tfds:imagenet2012", batch_size=1600, train_crop=RandomResizedCrop(), evaluation_crop=CenterCrop()
    ),
    augmentations=(HorizontalFlip(),),
    normalization=Normalization(mean=(0.5,), std=(0.5,)),
    optimizer=RMSProp(
        learning_rate=50 * 0.04,
        decay=0.9,
        momentum=0.9,
        epsilon=1.0,
        weight_decay=4e-5,
        clip_norm=10.0,
        schedule=ScheduleConfig(kind="exponential", factor=0.97, every_epochs=2.4),
    ),
    loss=LossConfig(label_smoothing=0.1, auxiliary_weight=0.4),
    ema=EMAConfig(decay=0.9999),
    evaluation=EvaluationConfig(batch_size=800),
    published=PublishedConfig(
        top1_error=26.0,
        top5_error=8.4,
        protocol="centre crop 224, ILSVRC-2012 validation",
        source="arXiv:1707.07012, table 3",
    ),
)
