#!/usr/bin/env python3
"""Writes the report of runs: the command `jaxcnn report`."""

import sys

from jaxcnn.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["report", *sys.argv[1:]]))
