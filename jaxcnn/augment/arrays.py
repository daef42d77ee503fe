"""The arrays that most augmentations take and return."""

from jaxtyping import Array, Float, Key, Real, Shaped, UInt8

Keys = Key[Array, " batch"]
"""A typed PRNG key for each image."""

Pixels = UInt8[Array, "batch height width channels"]
"""The images before they are normalized."""

Levels = UInt8[Array, "batch *axes channels"]
"""Values that are changed one by one: those of every pixel of an image, or the 256 possible ones."""

Normalized = Float[Array, "batch height width channels"]
"""The images after they are normalized."""

Images = Shaped[Array, "batch height width channels"]
"""The images, normalized or not."""

Targets = Float[Array, "batch classes"]
"""The probabilities of the classes of each image."""

Tables = UInt8[Array, "batch 256 channels"]
"""The value that replaces each of the 256 values of each channel."""

PerImage = Real[Array, " batch"]
"""A number for each image."""
