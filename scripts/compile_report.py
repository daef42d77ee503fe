#!/usr/bin/env python3
"""Compiles training steps for other machines, and reports on them: the command `jaxcnn compile-report`."""

import sys

from jaxcnn.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["compile-report", *sys.argv[1:]]))
