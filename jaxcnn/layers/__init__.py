"""The Flax modules that the families share."""
