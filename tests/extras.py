"""Tests that need the packages of vrx's extra."""

from importlib.util import find_spec

import pytest

PACKAGES = ("diffusers", "transformers", "peft", "torchvision")
needs_extra = pytest.mark.skipif(not all(map(find_spec, PACKAGES)), reason='needs pip install "vrx[diffusers]"')
