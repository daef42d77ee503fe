"""ResNet-50 on ILSVRC-2012 by torchvision's new recipe (IMAGENET1K_V2): published 19.142 / 4.566 % error.

The options are those of torchvision's issue 3995: 600 epochs of training at 176 pixels, and batch 1024 over 8 GPUs, in
which each image comes four times, differently augmented (``--ra-reps 4``). The published figures are for the moving
average (``ema_top1_error``) and a single centre crop of 224 out of 232, on 50,000 images. One thing differs: the
published weights are those of the epoch that was best on the same 50,000 images. The published figures are
torchvision's, not measured here.
"""

from jaxcnn.config import (
    SGD,
    CenterCrop,
    DataConfig,
    EMAConfig,
    EvaluationConfig,
    HorizontalFlip,
    LossConfig,
    MixUpOrCutMix,
    ModelConfig,
    PublishedConfig,
    RandomErasing,
    RandomResizedCrop,
    ScheduleConfig,
    TrainConfig,
    TrivialAugmentWide,
)

config = TrainConfig(
    name="resnet50_imagenet_v2",
    epochs=600.0,
    log_every_steps=100,
    model=ModelConfig(name="resnet50"),
    data=DataConfig(
        name="tfds:imagenet2012",
        batch_size=1024,
        repeats=4,
        train_crop=RandomResizedCrop(size=176),
        evaluation_crop=CenterCrop(size=224, resize=232),
    ),
    augmentations=(
        HorizontalFlip(),
        TrivialAugmentWide(),
        RandomErasing(probability=0.1),
        MixUpOrCutMix(mixup_alpha=0.2, cutmix_alpha=1.0),
    ),
    optimizer=SGD(
        learning_rate=0.5,
        momentum=0.9,
        weight_decay=2e-5,
        decayed="not_norms",
        schedule=ScheduleConfig(kind="cosine", warmup_epochs=5.0, warmup_start=0.01, moves="every_epoch"),
    ),
    loss=LossConfig(label_smoothing=0.1),
    ema=EMAConfig(decay=0.99998, every_steps=32, rescaled=True, in_warmup="copy"),
    evaluation=EvaluationConfig(batch_size=1024),
    published=PublishedConfig(
        top1_error=19.142,
        top5_error=4.566,
        protocol="centre crop 224 of 232, ILSVRC-2012 validation, its best epoch",
        source="torchvision 0.28, IMAGENET1K_V2",
    ),
)
