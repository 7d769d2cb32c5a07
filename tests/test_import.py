"""Importing vrx is cheap, and tells type checkers what it has."""

import subprocess
import sys
from pathlib import Path

import vrx
from tests.conftest import ROOT


def test_importing_vrx_loads_nothing_heavy() -> None:
    code = "import sys, vrx; dir(vrx); print([m for m in ('torch', 'numpy', 'av', 'cv2', 'typer') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


def test_a_cluster_is_joined_before_torch_is_imported() -> None:
    code = "import sys, vrx.cluster.start, vrx.pipeline.inputs; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "False"


def test_types_are_for_everybody() -> None:
    assert (Path(vrx.__file__).parent / "py.typed").exists()
