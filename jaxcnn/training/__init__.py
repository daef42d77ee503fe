"""Training: losses, optimizers, the state, the step, the loop, checkpoints, and the reports of a run."""
