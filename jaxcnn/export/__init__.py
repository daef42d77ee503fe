"""Networks as files that run elsewhere, and such files as networks."""
