"""What is set once in a process, in every way that it can be: the order of attention's kernels, how memory is taken."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from vrx.bench.gpu.context import Context
from vrx.bench.gpu.overlap import TURNS, said
from vrx.bench.gpu.restorers import Spec
from vrx.bench.gpu.ways import apart, run_chunks
from vrx.networks.dense_attention import prefer
from vrx.pipeline.gpu import CUDNN_FIRST, JOINED, attention_order, set_allocator
from vrx.pipeline.ways import Way

FIRST = ("cudnn", "flash", "efficient")  # kernels that are tried first, in turn
Set = Callable[[], object]


def compare_orders(context: Context, words: Sequence[str]) -> None:
    """Models with each kernel of attention first: milliseconds, memory, and how far the frames are apart."""
    ways = {f"{first} first": partial(prefer, attention_order(first, CUDNN_FIRST[0])) for first in FIRST}
    compare(context, "attention order", words, list(ways.items()))


def compare_segments(context: Context, words: Sequence[str]) -> None:
    """Models with memory in segments that grow and in fixed ones, in turn: what is reserved of it."""
    ways = [(way, partial(set_allocator, JOINED.format(way == "on"))) for way in TURNS]
    compare(context, "segments", words, ways)


def compare(context: Context, part: str, words: Sequence[str], ways: Sequence[tuple[str, Set]]) -> None:
    """A few chunks of models in every way, which is set on a GPU only."""
    for word in words:
        expected: list[Tensor] = []
        for way, prepare in ways:
            if context.left() < 12:
                context.results.emit("bench", what=word, part=part, way=way, skipped="no time")
                continue
            with context.results.guard("bench", what=word, part=part, way=way), torch.inference_mode():
                if context.cuda:
                    prepare()
                context.clear()
                found, record = run_chunks(context, Spec.parse(word, context.tiny), Way())
                facts: Mapping[str, object] = {"reserved_gb": context.reserved(), "said": said()}
                if expected:
                    record["worst"] = round(max(apart(a, b) for a, b in zip(found, expected, strict=True)), 5)
                context.results.emit("bench", what=word, part=part, way=way, steady=True, **record, **facts)
                expected = expected or found
