"""Trials of what is promised: the decoder is given damaged files, and a training is killed at random moments."""
