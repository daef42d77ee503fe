"""Flax modules that the families of networks share: convolution, normalization, activations, classifiers."""
