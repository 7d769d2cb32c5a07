"""The memory that tensors of a device without numbers would take."""

import weakref
from collections import Counter
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.models.meta_results import RESULTS, flat


class Alive(TorchDispatchMode):
    """Counts the bytes of tensors from when an operation gives them until nothing refers to them."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes, self.peak = 0, 0
        self.references: Counter[int] = Counter()

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = RESULTS.run(operation, args, kwargs or {})
        given = {id(leaf) for leaf in flat((args, kwargs))}
        for tensor in flat(found):
            if isinstance(tensor, torch.Tensor) and tensor.is_meta and id(tensor) not in given:
                storage = tensor.untyped_storage()
                self.bytes += storage.nbytes() * (not self.references[storage._cdata])
                self.references[storage._cdata] += 1
                weakref.finalize(tensor, self.release, storage._cdata, storage.nbytes())
        self.peak = max(self.peak, self.bytes)
        return found

    def release(self, storage: int, count: int) -> None:
        self.references[storage] -= 1
        self.bytes -= count * (not self.references[storage])
