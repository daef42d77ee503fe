"""ConvNeXt-T on ILSVRC-2012 by torchvision's recipe (IMAGENET1K_V1): published 17.48 / 3.854 % error.

The options are those of references/classification/README.md: AdamW, 600 epochs of training at 176 pixels, and batch
1024 over 16 GPUs, in which each image comes four times, differently augmented (``--ra-reps 4``). The published figure
is for the moving average (``ema_top1_error``) and a single centre crop of 224 out of 236, on 50,000 images. It is
torchvision's, not one measured here; the paper's own recipe is in convnext_tiny_imagenet_2022.py.
"""

from jaxcnn.config import (
    AdamW,
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
    name="convnext_tiny_imagenet",
    epochs=600.0,
    log_every_steps=100,
    model=ModelConfig(name="convnext_tiny"),
    data=DataConfig(
        name="tfds:imagenet2012",
        batch_size=1024,
        repeats=4,
        train_crop=RandomResizedCrop(size=176),
        evaluation_crop=CenterCrop(size=224, resize=236),
    ),
    augmentations=(
        HorizontalFlip(),
        TrivialAugmentWide(),
        RandomErasing(probability=0.1),
        MixUpOrCutMix(mixup_alpha=0.2, cutmix_alpha=1.0),
    ),
    optimizer=AdamW(
        learning_rate=1e-3,
        weight_decay=0.05,
        decayed="not_norms",
        schedule=ScheduleConfig(kind="cosine", warmup_epochs=5.0, warmup_start=0.01, moves="every_epoch"),
    ),
    loss=LossConfig(label_smoothing=0.1),
    ema=EMAConfig(decay=0.99998, every_steps=32, rescaled=True, in_warmup="copy"),
    evaluation=EvaluationConfig(batch_size=1024),
    published=PublishedConfig(
        top1_error=17.48,
        top5_error=3.854,
        protocol="centre crop 224 of 236, ILSVRC-2012 validation",
        source="torchvision 0.28, IMAGENET1K_V1",
    ),
)
