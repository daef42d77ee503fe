#!/usr/bin/env python3
"""Shows why a network answers as it does: the command `jaxcnn explain`."""

import sys

from jaxcnn.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["explain", *sys.argv[1:]]))
