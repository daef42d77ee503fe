#!/usr/bin/env python3
"""Lists the recipes: the command `jaxcnn recipes`."""

import sys

from jaxcnn.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["recipes", *sys.argv[1:]]))
