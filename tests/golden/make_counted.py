"""Counts every network anew and writes jaxcnn/tables/counted.json, which takes a minute or two.

python tests/golden/make_counted.py
"""

import json
from pathlib import Path

import jaxcnn
from jaxcnn.tables.networks import count

FILE = Path(jaxcnn.__file__).parent / "tables" / "counted.json"

if __name__ == "__main__":
    rows = [f'  "{name}": {json.dumps(count(name)._asdict())}' for name in jaxcnn.list_models()]
    FILE.write_text("{\n" + ",\n".join(rows) + "\n}\n")
