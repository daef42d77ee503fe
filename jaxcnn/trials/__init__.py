"""What tries to break a promise: damaged image files on the decoder, and signals on a training at random moments."""
