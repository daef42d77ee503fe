"""Builds the site of the documentation from the pages in docs/, the docstrings and the commands' help."""
