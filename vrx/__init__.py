"""vrx: video restoration by streaming one-step diffusion models."""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"
PUBLIC = ("doctor", "find_scenes", "plan", "probe", "restore")
__all__ = ["__version__", *PUBLIC]


def __getattr__(name: str) -> Any:
    if name in PUBLIC:
        return getattr(importlib.import_module("vrx.api"), name)
    raise AttributeError(f"module 'vrx' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *PUBLIC})
