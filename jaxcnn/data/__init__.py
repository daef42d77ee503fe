"""Makes host batches of uint8 images of a data set's name, without JAX and without TensorFlow.

`opening.open_data` opens what a run trains on; `sources` finds the data sets by name, `decode` and `crop` make images
of one size, and `multi_crop` makes several views of one image.
"""
