"""From a data set's name to host batches of uint8 images, without JAX and without TensorFlow.

`pipeline.open_data` is the door; `sources` names the data sets, `decode` and `crop` make images of one size, and
`multi_crop` several views of one.
"""
