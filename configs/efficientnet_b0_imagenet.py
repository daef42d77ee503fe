"""EfficientNet-B0 on ILSVRC-2012 by its authors' code: published 23.7 % top-1 error (arXiv:1905.11946).

The options are the code's defaults: batch 2048, TensorFlow's RMSProp, 350 epochs, 0.97 times the rate every 2.4 epochs,
no augmentation but crop and mirror, TensorFlow's padding and batch normalization, and the network's default stochastic
depth of 0.2. The authors chose the epoch by 25,022 images that they held out of training; here the last epoch counts.
The published figure is for the moving average (``ema_top1_error``) and a single, bicubic centre crop of 7/8 of the
short side. It is the paper's, not one measured here.
"""

from jaxcnn.config import (
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
    name="efficientnet_b0_imagenet",
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
    augmentations=(HorizontalFlip(),),
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
        top1_error=23.7,
        top5_error=6.8,
        protocol="centre crop, ILSVRC-2012 validation",
        source="arXiv:1905.11946, table 2, ICML 2019",
    ),
)
