"""Print the lowest versions that pyproject.toml allows, one requirement a line, for CI to test.

Of those dependencies that are written in Python or have one build for all of its versions: the others
have no builds of old versions for new interpreters.
"""

import re
import sys
import tomllib
from pathlib import Path

NEWEST = {"torch", "av", "opencv-python", "numpy", "pillow"}

project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
for requirement in project["dependencies"]:
    match = re.match(r"([\w-]+)>=([\d.]+)", requirement)
    if match is None:
        sys.exit(f"pyproject.toml: {requirement!r} has no lowest version")
    if match[1] not in NEWEST:
        sys.stdout.write(f"{match[1]}=={match[2]}\n")
