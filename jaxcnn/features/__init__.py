"""Features of trained networks, and classifiers on features."""
