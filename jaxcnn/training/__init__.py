"""Training: losses, optimizers, the state, the step, and what keeps them on disk."""
