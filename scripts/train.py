#!/usr/bin/env python3
"""Trains a recipe, or goes on with a run: the command `jaxcnn train`."""

import sys

from jaxcnn.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
