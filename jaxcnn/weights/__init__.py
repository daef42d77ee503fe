"""Pretrained weights: where they are published, reading and writing their files, and the strict merge by names."""
