"""A data set without images: its sizes and shapes are enough to assemble a run and to compile its steps."""

from jaxcnn.config import Crop, DataConfig
from jaxcnn.data.loader import Loader
from jaxcnn.data.opening import check_evaluation_crop
from jaxcnn.data.pipeline import Data, Split
from jaxcnn.data.sources import Source

ILSVRC2012_SIZES = (1_281_167, 50_000)
"""The numbers of training and validation images of ILSVRC-2012's classification task."""
ILSVRC2012_CLASSES = 1000
"""The number of classes of ILSVRC-2012's classification task."""


def stand_in(config: DataConfig, sizes: tuple[int, int] = ILSVRC2012_SIZES, classes: int = ILSVRC2012_CLASSES) -> Data:
    """Returns a streamed data set of these sizes, whose images cannot be read.

    Args:
        config: the shape and the number of channels that its images would be cut to.
        sizes: the numbers of images to train on, and to be measured on.
        classes: the number of classes; they are named by their numbers.

    Raises:
        UserError: ``evaluation_crop`` is random.
    """
    check_evaluation_crop(config)
    class_names = tuple(map(str, range(classes)))

    def read(index: int) -> tuple[bytes, int]:
        raise OSError("a stand-in has no images")

    def split(name: str, size: int, crop: Crop) -> Split:
        title, shape = f"a stand-in for {config.name}, {name}", (crop.size, crop.size, config.channels)
        source = Source(title, name, class_names, size, read, describe=lambda index: f"image {index}")
        return Split(title, class_names, size, shape, None, None, _loader=Loader(source, crop, config))

    train, evaluation = sizes
    return Data(
        train=split("train", train, config.train_crop),
        evaluation=split("evaluation", evaluation, config.evaluation_crop),
        class_names=class_names,
    )
