"""What came before: dense SIFT encoded by Fisher vectors or by sparse codes, and a linear classifier of these."""
