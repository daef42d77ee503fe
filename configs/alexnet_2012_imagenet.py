"""AlexNet on ILSVRC-2012 as its paper trains it (NIPS 2012): published 40.7 / 18.2 % error, of ten crops.

Images are crops of the centre square, mirrored, with PCA lighting. Pixels range from 0 to 255 with the mean subtracted,
which the paper's initial weights are made for. Training takes about 90 epochs of SGD at batch 128. Crops have 227
pixels and not 224, because the first convolution needs them. The authors divided the rate by ten three times, when the
validation error stalled. The paper does not say when that was; the epochs here are those of Caffe's replication, every
100,000 steps of 256 images. The published figure is the paper's, not one measured here; the run itself measures the
centre crop.
"""

from jaxcnn.config import (
    SGD,
    CenterCrop,
    DataConfig,
    EvaluationConfig,
    HorizontalFlip,
    Lighting,
    ModelConfig,
    Normalization,
    PublishedConfig,
    ScaleJitter,
    ScheduleConfig,
    TrainConfig,
)

config = TrainConfig(
    name="alexnet_2012_imagenet",
    epochs=90.0,
    log_every_steps=100,
    model=ModelConfig(name="alexnet_2012"),
    data=DataConfig(
        name="tfds:imagenet2012",
        batch_size=128,
        train_crop=ScaleJitter(size=227, short_side=(256, 256), from_center_square=True),
        evaluation_crop=CenterCrop(size=227, resize=256),
    ),
    augmentations=(HorizontalFlip(), Lighting()),
    normalization=Normalization(std=(1 / 255,)),
    optimizer=SGD(
        learning_rate=0.01,
        momentum=0.9,
        weight_decay=5e-4,
        schedule=ScheduleConfig(kind="step", milestones=(20.0, 40.0, 60.0), factor=0.1),
    ),
    evaluation=EvaluationConfig(batch_size=256),
    published=PublishedConfig(
        top1_error=40.7,
        top5_error=18.2,
        protocol="10-crop, ILSVRC-2012 validation",
        source="Krizhevsky et al. 2012, table 2",
    ),
)
