"""Speed, always as a ratio: ours beside somebody else's, or one way beside another, in one run on one machine."""
