"""Networks of other libraries, which are extras of vrx: imported where one is made, their layers used as they are."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from inspect import Parameter, signature
from typing import Any

import torch
from torch import nn

from vrx.networks.published import CONFIG_ERRORS, PublishedNetwork

NO_OPERATOR = re.compile(r"operator (torchvision::\w+) does not exist")
SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
MOST_OPERATORS = 16  # to declare before giving up


def load(module: str, name: str) -> Any:
    """A class or function of an optional library, imported without its warnings, which are not for users of vrx.

    Raises ImportError with one line that says what is wrong.
    """
    try:
        with warnings.catch_warnings(action="ignore"):
            declare_operators()
            return getattr(import_module(module), name)
    except Exception as error:  # what a library needs, or what a broken build of it leads to
        raise ImportError(f"cannot use {name} of {module.partition('.')[0]}: {first_line(error)}") from error


def first_line(error: BaseException) -> str:
    """The first line of what went wrong first."""
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@cache
def declare_operators() -> None:
    """Make torchvision importable where its compiled operators do not fit torch, as one for GPUs beside one without.

    torchvision is meant to work without them, and says so where one is called.  But its import describes two that
    then do not exist, and fails; transformers imports it and fails with it.  No network here uses any of them.
    """
    for _ in range(MOST_OPERATORS):
        try:
            import_module("torchvision")
            return
        except ModuleNotFoundError:
            return
        except RuntimeError as error:
            missing = NO_OPERATOR.search(str(error))
            if missing is None:
                raise
            torch.library.define(missing[1], SCHEMA)


def construct(kind: Any, settings: Mapping[str, Any]) -> Any:
    """An instance of a library's class from its published config; keys that this version does not know are left out.

    Raises ValueError, and others of `CONFIG_ERRORS`, for values that cannot be.
    """
    known = signature(kind.__init__).parameters.values()
    names = {item.name for item in known}
    anything = any(item.kind is Parameter.VAR_KEYWORD for item in known)
    try:
        return kind(**{name: value for name, value in settings.items() if anything or name in names})
    except (*CONFIG_ERRORS, MemoryError):
        raise
    except Exception as error:  # each library has its own
        raise ValueError(first_line(error)) from error


class LibraryNetwork(PublishedNetwork):
    """A network of another library, whose layers are its own, so that tensors have their published names."""

    def __init__(self, network: nn.Module, root: nn.Module | None = None) -> None:
        """`root`: the module of the network that the published names begin at, where it is not the network itself."""
        super().__init__()
        for name, layer in (network if root is None else root).named_children():
            self.add_module(name, layer)
        self._library = (network.eval(),)  # in a tuple: not a layer of its own

    @property
    def library(self) -> Any:
        """The network itself."""
        return self._library[0]

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The type of its weights."""
        return next(self.parameters()).dtype
