"""ResNet-50 on ILSVRC-2012 by "ResNet strikes back"'s procedure A1 (arXiv:2110.00476): published 19.6 % top-1 error.

Training takes 600 epochs of LAMB at batch 2048, in which each image comes three times, differently augmented, with
binary cross-entropy and stochastic depth. As in timm's LAMB, gradients are clipped at a norm of 1 and only decayed
parameters are scaled to their norm. The published figure is for a single, bicubic centre crop of 224 out of 236 (a
share of 0.95), on 50,000 images. It is the paper's, not one measured here.
"""

from jaxcnn.config import (
    LAMB,
    CenterCrop,
    DataConfig,
    EvaluationConfig,
    HorizontalFlip,
    LossConfig,
    MixUpOrCutMix,
    ModelConfig,
    PublishedConfig,
    RandAugment,
    RandomResizedCrop,
    ScheduleConfig,
    TrainConfig,
)

config = TrainConfig(
    name="resnet50_imagenet_a1",
    epochs=600.0,
    log_every_steps=100,
    model=ModelConfig(name="resnet50", options={"drop_path_rate": 0.05}),
    data=DataConfig(
        name="tfds:imagenet2012",
        batch_size=2048,
        repeats=3,
        train_crop=RandomResizedCrop(interpolation="bicubic"),
        evaluation_crop=CenterCrop(size=224, resize=236, interpolation="bicubic"),
    ),
    augmentations=(
        HorizontalFlip(),
        RandAugment(magnitude=7.0, magnitude_std=0.5, num_magnitude_bins=11, increasing=True, probability=0.5),
        MixUpOrCutMix(mixup_alpha=0.2, cutmix_alpha=1.0),
    ),
    optimizer=LAMB(
        learning_rate=5e-3,
        weight_decay=0.01,
        decayed="kernels",
        scaled="decayed",
        clip_norm=1.0,
        schedule=ScheduleConfig(kind="cosine", warmup_epochs=5.0, minimum_rate=1e-6),
    ),
    loss=LossConfig(kind="binary", label_smoothing=0.1),
    evaluation=EvaluationConfig(batch_size=2048),
    published=PublishedConfig(
        top1_error=19.6,
        protocol="centre crop 224 of 236, ILSVRC-2012 validation",
        source="arXiv:2110.00476, procedure A1",
    ),
)
