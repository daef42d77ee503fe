#!/usr/bin/env python3
"""Kills a training at random moments: the command `jaxcnn interrupt`."""

import sys

from jaxcnn.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["interrupt", *sys.argv[1:]]))
