"""Objects in images: annotations, proposals of regions, the sliding window, R-CNN, and average precision."""
