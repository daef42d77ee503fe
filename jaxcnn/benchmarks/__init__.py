"""Benchmarks, each of which measures a ratio in one run on one machine: ours to others, or one way to another."""
