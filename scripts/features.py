#!/usr/bin/env python3
"""Extracts features of images: the command `jaxcnn features`."""

import sys

from jaxcnn.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["features", *sys.argv[1:]]))
