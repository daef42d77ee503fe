#!/usr/bin/env python3
"""Draws what units of a network look for: the command `jaxcnn activations`."""

import sys

from jaxcnn.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["activations", *sys.argv[1:]]))
