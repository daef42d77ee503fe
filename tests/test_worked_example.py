"""The worked example of docs/extending.md does what it says."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROGRAM = """
import jaxcnn
from jaxcnn.data.views import PROTOCOLS

jaxcnn.train("stripes.py", "run")
views = PROTOCOLS.groups["corners"](size=12)
print("corners:", jaxcnn.load("run").evaluate(views=views, top_k=(1,)))
"""


def test_the_recipe_that_adds_one_of_each_is_trained_and_evaluated(tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/extending.md").read_text(), re.DOTALL)
    (tmp_path / "stripes.py").write_text(blocks[0])
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", PROGRAM]
    answer = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=300)
    assert answer.returncode == 0, answer.stderr
    errors = [float(error) for error in re.findall(r"top-1 error ([\d.]+) %", answer.stdout)]
    assert "optimizer.kind = lion" in answer.stdout
    assert errors[-2] < 10
    assert re.search(r"corners: top-1 error [\d.]+ %  \(128 images\)\n$", answer.stdout)
    assert errors[-1] < 10
