"""Builds the site of the documentation in site/, or in the folder that is given, and checks its links.

    python -m docs.builder [FOLDER]

The exit code is 1 where a page has a warning, a link leads nowhere, or a file is asked of another host.
"""

import sys
from pathlib import Path

from docs.builder.build import build
from docs.builder.reference import ROOT

site = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "site"
faults = build(site)
print(*faults, sep="\n", end="\n" if faults else "")
print(f"{len(faults)} faults" if faults else f"{site}/index.html is the first page")
sys.exit(bool(faults))
