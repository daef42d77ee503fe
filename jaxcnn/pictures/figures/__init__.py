"""The lecture's figures, each drawn from our own code, our own networks or a stored table with its sources."""
