"""Benchmarks, each of which measures a ratio in one run on one machine: ours beside others, or one way beside another."""
