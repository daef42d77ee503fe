#!/usr/bin/env python3
"""Measures a run or published weights: the command `jaxcnn evaluate`."""

import sys

from jaxcnn.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["evaluate", *sys.argv[1:]]))
