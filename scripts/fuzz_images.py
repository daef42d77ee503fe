#!/usr/bin/env python3
"""Tries damaged image files on the decoder: the command `jaxcnn fuzz-images`."""

import sys

from jaxcnn.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["fuzz-images", *sys.argv[1:]]))
