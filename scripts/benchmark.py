#!/usr/bin/env python3
"""Measures speed: the command `jaxcnn benchmark`."""

import sys

from jaxcnn.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["benchmark", *sys.argv[1:]]))
