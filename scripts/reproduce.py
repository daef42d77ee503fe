#!/usr/bin/env python3
"""Measures published weights as their publisher does: the command `jaxcnn reproduce`."""

import sys

from jaxcnn.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["reproduce", *sys.argv[1:]]))
