"""ResNet-50 on ILSVRC-2012 as fb.resnet.torch trains it: published 24.01 / 7.02 % error.

The recipes of ResNeXt, of DenseNet and the first ones of torchvision descend from this one: 90 epochs of SGD with
Nesterov's momentum at batch 256, the rate divided by ten every 30, weight decay of all parameters, bicubic crops of
random area and aspect ratio, colour jitter and lighting. Torch's bicubic scaling does not smooth where it makes an
image smaller; ours does. The interpolation of the centre crop is our choice. The published figure is that repository's,
not one measured here.
"""

from jaxcnn.config import (
    SGD,
    CenterCrop,
    ColorJitter,
    DataConfig,
    EvaluationConfig,
    HorizontalFlip,
    Lighting,
    ModelConfig,
    PublishedConfig,
    RandomResizedCrop,
    ScheduleConfig,
    TrainConfig,
)

config = TrainConfig(
    name="resnet50_imagenet_fb",
    epochs=90.0,
    log_every_steps=100,
    model=ModelConfig(name="resnet50"),
    data=DataConfig(
        name="tfds:imagenet2012",
        batch_size=256,
        train_crop=RandomResizedCrop(interpolation="bicubic"),
        evaluation_crop=CenterCrop(interpolation="bicubic"),
    ),
    augmentations=(HorizontalFlip(), ColorJitter(), Lighting()),
    optimizer=SGD(
        learning_rate=0.1,
        momentum=0.9,
        nesterov=True,
        weight_decay=1e-4,
        schedule=ScheduleConfig(kind="step", milestones=(30.0, 60.0), factor=0.1),
    ),
    evaluation=EvaluationConfig(batch_size=256),
    published=PublishedConfig(
        top1_error=24.01,
        top5_error=7.02,
        protocol="1 crop, ILSVRC-2012 validation",
        source="fb.resnet.torch's README",
    ),
)
