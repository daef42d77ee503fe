"""Functions on arrays: convolution and its lowerings, pooling, normalization. No Flax and no state."""
