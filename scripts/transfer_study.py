#!/usr/bin/env python3
"""Compares training, fine-tuning and features on few images: the command `jaxcnn transfer-study`."""

import sys

from jaxcnn.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["transfer-study", *sys.argv[1:]]))
