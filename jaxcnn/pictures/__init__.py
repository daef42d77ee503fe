"""Pictures: plots of networks and of timings, and pages of training images."""
