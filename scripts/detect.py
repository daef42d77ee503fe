#!/usr/bin/env python3
"""Finds objects in images: the command `jaxcnn detect`."""

import sys

from jaxcnn.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["detect", *sys.argv[1:]]))
