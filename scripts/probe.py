#!/usr/bin/env python3
"""Fits and measures a classifier on features: the command `jaxcnn probe`."""

import sys

from jaxcnn.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["probe", *sys.argv[1:]]))
