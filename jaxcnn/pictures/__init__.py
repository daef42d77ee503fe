"""What is drawn: plots of networks and of timings, and pages of training images."""
