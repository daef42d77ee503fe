#!/usr/bin/env python3
"""Lists the networks: the command `jaxcnn models`."""

import sys

from jaxcnn.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["models", *sys.argv[1:]]))
