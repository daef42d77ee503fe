#!/usr/bin/env python3
"""Prepares, checks, packs or previews a data set: the command `jaxcnn data`."""

import sys

from jaxcnn.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["data", *sys.argv[1:]]))
