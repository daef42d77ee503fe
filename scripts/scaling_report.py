#!/usr/bin/env python3
"""Predicts how a recipe scales over chips: the command `jaxcnn scaling-report`."""

import sys

from jaxcnn.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["scaling-report", *sys.argv[1:]]))
