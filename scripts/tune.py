#!/usr/bin/env python3
"""Finds the fastest lowerings on this machine: the command `jaxcnn tune`."""

import sys

from jaxcnn.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["tune", *sys.argv[1:]]))
