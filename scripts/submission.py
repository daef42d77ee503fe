#!/usr/bin/env python3
"""Scores an ILSVRC submission file: the command `jaxcnn submission`."""

import sys

from jaxcnn.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["submission", *sys.argv[1:]]))
