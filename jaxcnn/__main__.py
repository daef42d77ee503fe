"""``python -m jaxcnn``: the command ``jaxcnn``."""

import sys

from jaxcnn.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
