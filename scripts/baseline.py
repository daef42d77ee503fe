#!/usr/bin/env python3
"""Trains and measures what came before convolutional networks: the command `jaxcnn baseline`."""

import sys

from jaxcnn.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["baseline", *sys.argv[1:]]))
