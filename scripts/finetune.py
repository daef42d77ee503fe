#!/usr/bin/env python3
"""Trains a network with pretrained weights on other images: the command `jaxcnn finetune`."""

import sys

from jaxcnn.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["finetune", *sys.argv[1:]]))
