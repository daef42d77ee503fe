"""ResNet-50 on ILSVRC-2012 as its paper trains it (arXiv:1512.03385): published 22.85 / 6.71 % error, of ten crops.

Images have a scale jitter from 256 to 480 pixels, mirrored, with AlexNet's lighting. The stride of a bottleneck is in
its first convolution. Training takes 600,000 steps of SGD at batch 256, which are 119.9 epochs and the paper's maximum.
The authors divided the rate by ten when the error stalled, and the paper does not say when that was; every 30 epochs is
fb.resnet.torch's choice. The paper subtracts a mean for each pixel. Here there is one for each channel, and pixels are
divided by their deviation, which batch normalization undoes. The paper's batch statistics are averages over many images
after training; ours are the running ones. The published figure is the paper's, not one measured here. The run itself
measures the centre crop, for which 24.7 / 7.8 % is reported with the authors' weights.
"""

from jaxcnn.config import (
    SGD,
    CenterCrop,
    DataConfig,
    EvaluationConfig,
    HorizontalFlip,
    Lighting,
    ModelConfig,
    PublishedConfig,
    ScaleJitter,
    ScheduleConfig,
    TrainConfig,
)

config = TrainConfig(
    name="resnet50_imagenet_2015",
    epochs=600_000 * 256 / 1_281_167,
    log_every_steps=100,
    model=ModelConfig(name="resnet50", options={"stride_in_first_conv": True}),
    data=DataConfig(
        name="tfds:imagenet2012",
        batch_size=256,
        train_crop=ScaleJitter(short_side=(256, 480)),
        evaluation_crop=CenterCrop(),
    ),
    augmentations=(HorizontalFlip(), Lighting()),
    optimizer=SGD(
        learning_rate=0.1,
        momentum=0.9,
        weight_decay=1e-4,
        schedule=ScheduleConfig(kind="step", milestones=(30.0, 60.0, 90.0), factor=0.1),
    ),
    evaluation=EvaluationConfig(batch_size=256),
    published=PublishedConfig(
        top1_error=22.85,
        top5_error=6.71,
        protocol="10-crop, ILSVRC-2012 validation",
        source="arXiv:1512.03385, table 3",
    ),
)
