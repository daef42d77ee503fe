#!/usr/bin/env python3
"""Names what is in image files: the command `jaxcnn predict`."""

import sys

from jaxcnn.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["predict", *sys.argv[1:]]))
