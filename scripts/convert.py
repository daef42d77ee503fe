#!/usr/bin/env python3
"""Writes pretrained weights under our names: the command `jaxcnn convert`."""

import sys

from jaxcnn.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["convert", *sys.argv[1:]]))
