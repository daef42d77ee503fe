#!/usr/bin/env python3
"""Writes a trained network as a file for other programs: the command `jaxcnn export`."""

import sys

from jaxcnn.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["export", *sys.argv[1:]]))
