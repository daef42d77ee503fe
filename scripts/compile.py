#!/usr/bin/env python3
"""Compiles a recipe's training step into a file: the command `jaxcnn compile`."""

import sys

from jaxcnn.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["compile", *sys.argv[1:]]))
