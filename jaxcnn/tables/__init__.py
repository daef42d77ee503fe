"""The tables of this project: its networks, its recipes, and the results that were measured beside published ones."""
