"""ResNet-50 on ILSVRC-2012 by "ResNet strikes back"'s procedure A3 (arXiv:2110.00476): published 21.9 % top-1 error.

Training takes 100 epochs of LAMB at batch 2048 and 160 pixels, with binary cross-entropy. As in timm's LAMB, gradients
are clipped at a norm of 1 and only decayed parameters are scaled to their norm. The scale of RandAugment's magnitudes
and the end of the schedule are taken from procedure A1. The published figure is for a single, bicubic centre crop of
224 out of 236 (a share of 0.95), on 50,000 images. It is the paper's, not one measured here.
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
    name="resnet50_imagenet_a3",
    epochs=100.0,
    log_every_steps=100,
    model=ModelConfig(name="resnet50"),
    data=DataConfig(
        name="tfds:imagenet2012",
        batch_size=2048,
        train_crop=RandomResizedCrop(size=160, interpolation="bicubic"),
        evaluation_crop=CenterCrop(size=224, resize=236, interpolation="bicubic"),
    ),
    augmentations=(
        HorizontalFlip(),
        RandAugment(magnitude=6.0, magnitude_std=0.5, num_magnitude_bins=11, increasing=True, probability=0.5),
        MixUpOrCutMix(mixup_alpha=0.1, cutmix_alpha=1.0),
    ),
    optimizer=LAMB(
        learning_rate=8e-3,
        weight_decay=0.02,
        decayed="kernels",
        scaled="decayed",
        clip_norm=1.0,
        schedule=ScheduleConfig(kind="cosine", warmup_epochs=5.0, minimum_rate=1e-6),
    ),
    loss=LossConfig(kind="binary"),
    evaluation=EvaluationConfig(batch_size=2048),
    published=PublishedConfig(
        top1_error=21.9,
        protocol="centre crop 224 of 236, ILSVRC-2012 validation",
        source="arXiv:2110.00476, procedure A3",
    ),
)
