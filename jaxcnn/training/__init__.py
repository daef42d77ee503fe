"""Training: losses, optimizers, the state, the step, the loop, checkpoints, and the log of a run."""
