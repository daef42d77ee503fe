"""ResNet-50 on ILSVRC-2012 as Flax's ImageNet example trains it on 8 V100: published 23.28 % top-1 error.

Training takes 100 epochs of SGD with Nesterov's momentum at batch 512, with 5 epochs of warm-up and a cosine, weight
decay of the kernels alone, the last normalization of each block starting at 0, and bicubic crops, mirrored. Two things
differ. Flax's strided convolutions and its max pooling pad only one side (TensorFlow's "SAME"), and ours pad both. And
the example's evaluation leaves out the last 336 images, which do not fill a batch, where ours counts all 50,000. The
published figure is the example's, not one measured here.
"""

from jaxcnn.config import (
    SGD,
    CenterCrop,
    DataConfig,
    EvaluationConfig,
    HorizontalFlip,
    ModelConfig,
    PublishedConfig,
    RandomResizedCrop,
    ScheduleConfig,
    TrainConfig,
)

config = TrainConfig(
    name="resnet50_imagenet_flax",
    epochs=100.0,
    log_every_steps=100,
    model=ModelConfig(name="resnet50", options={"zero_init_residual": True}),
    data=DataConfig(
        name="tfds:imagenet2012",
        batch_size=512,
        train_crop=RandomResizedCrop(interpolation="bicubic"),
        evaluation_crop=CenterCrop(interpolation="bicubic"),
    ),
    augmentations=(HorizontalFlip(),),
    optimizer=SGD(
        learning_rate=0.1 * 512 / 256,
        momentum=0.9,
        nesterov=True,
        weight_decay=1e-4,
        decayed="kernels",
        schedule=ScheduleConfig(kind="cosine", warmup_epochs=5.0),
    ),
    evaluation=EvaluationConfig(batch_size=512),
    published=PublishedConfig(
        top1_error=23.28,
        protocol="centre crop 224 of 256, bicubic, 49,664 images of ILSVRC-2012 validation",
        source="Flax's examples/imagenet, v100_x8",
    ),
)
