"""GoogLeNet on ILSVRC-2012 after its paper (arXiv:1409.4842): published 10.07 % top-5 error, of one crop.

The paper has two auxiliary losses of weight 0.3, crops of 8 to 100 % of the area, a momentum of 0.9, 4 % off the rate
every 8 epochs, and an average of the parameters. It does not state the batch size, the first rate and the weight decay:
32, 0.01 and 2e-4 are those of Caffe's replication (bvlc_googlenet), and so is the scale of pixels, 0 to 255 less the
mean. Nor does it state the length of training and the decay of the average: 250 epochs and 0.9999 are our choice. Its
photometric distortions are ColorJitter and Lighting here, as in fb.resnet.torch. It scales by an interpolation that is
drawn at random, where ours is bilinear. The published figure is the paper's, not one measured here.
"""

from jaxcnn.config import (
    SGD,
    CenterCrop,
    ColorJitter,
    DataConfig,
    EMAConfig,
    EvaluationConfig,
    HorizontalFlip,
    Lighting,
    LossConfig,
    ModelConfig,
    Normalization,
    PublishedConfig,
    RandomResizedCrop,
    ScheduleConfig,
    TrainConfig,
)

config = TrainConfig(
    name="googlenet_2014_imagenet",
    epochs=250.0,
    log_every_steps=100,
    model=ModelConfig(name="googlenet_2014", options={"auxiliary_heads": True}),
    data=DataConfig(
        name="tfds:imagenet2012", batch_size=32, train_crop=RandomResizedCrop(), evaluation_crop=CenterCrop()
    ),
    augmentations=(HorizontalFlip(), ColorJitter(), Lighting()),
    normalization=Normalization(std=(1 / 255,)),
    optimizer=SGD(
        learning_rate=0.01,
        momentum=0.9,
        weight_decay=2e-4,
        schedule=ScheduleConfig(kind="exponential", factor=0.96, every_epochs=8.0),
    ),
    loss=LossConfig(auxiliary_weight=0.3),
    ema=EMAConfig(decay=0.9999),
    evaluation=EvaluationConfig(batch_size=256),
    published=PublishedConfig(
        top5_error=10.07, protocol="1 crop, ILSVRC-2012 validation", source="arXiv:1409.4842, table 3"
    ),
)
