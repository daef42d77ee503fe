"""Studies of a compiled step before it is run for long: the memory and the time that it takes, here or elsewhere."""
