#!/usr/bin/env python3
"""Starts a training again when it fails: the command `jaxcnn supervise`."""

import sys

from jaxcnn.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["supervise", *sys.argv[1:]]))
