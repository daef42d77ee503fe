#!/usr/bin/env python3
"""Draws the lecture's figures: the command `jaxcnn figures`."""

import sys

from jaxcnn.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["figures", *sys.argv[1:]]))
