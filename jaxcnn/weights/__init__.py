"""Pretrained weights: files and published sets are read, renamed by the rules of a family, and merged strictly."""
