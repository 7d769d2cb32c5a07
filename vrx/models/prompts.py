"""A prompt to rows of guidance: cleaned, cut into tokens, encoded by UMT5, remembered on disk."""

from __future__ import annotations

import html
import re
from pathlib import Path

import torch
from torch import Tensor, nn

from vrx.errors import ModelError
from vrx.models.components import Components
from vrx.models.family import BuildRequest
from vrx.networks.umt5 import Umt5Encoder
from vrx.weights import checkpoint, prompts

LENGTH = 512  # tokens that a prompt is cut to, its end among them
END = "</s>"
SPACES = re.compile(r"\s+")


def clean(prompt: str) -> str:
    """Mojibake repaired, HTML entities resolved twice, every run of white space one space, ends stripped."""
    import ftfy  # a seventh of a second, which few runs need

    text = html.unescape(html.unescape(ftfy.fix_text(prompt)))
    return SPACES.sub(" ", text).strip()


def tokenize(description: str, prompt: str) -> tuple[Tensor, Tensor]:
    """Ids and mask [1, L] of a prompt with its end token, cut to 512; the tokenizer as JSON.  Raises ModelError."""
    row = torch.tensor([cut_tokens(description, clean(prompt), LENGTH)])
    return row, torch.ones_like(row)


def cut_tokens(description: str, text: str, length: int) -> list[int]:
    """Ids of a text, at most `length` with the end token; the tokenizer as JSON.  Raises ModelError."""
    from tokenizers import Tokenizer

    try:
        cutter = Tokenizer.from_str(description)
    except Exception as error:  # the library raises bare Exception for what it cannot read
        raise ModelError(f"cannot read the model's tokenizer: {error}") from error
    end = cutter.token_to_id(END)
    ids = cutter.encode(text, add_special_tokens=False).ids[: length - 1]
    if end is None:
        raise ModelError(f"the model's tokenizer has no end token {END}")
    return [*ids, end]


def encode_prompt(components: Components, prompt: str, device: torch.device, folder: Path) -> Tensor:
    """Guidance rows [1, L, D] of a prompt, float32, from `folder` where they were stored.

    The encoder is loaded only when they were not, and is gone afterwards.  Rows of padding are left out:
    the transformer puts zeros there.  Raises ModelError.
    """

    def encode() -> Tensor:
        ids, mask = tokenize(components.tokenizer(), prompt)
        with torch.inference_mode():
            return run_encoder(components.load("text", Umt5Encoder), ids, mask, device).float().cpu()

    return prompts.cached(folder, prompts.cache_key(prompt, components.where("text")), encode).to(device)


def run_encoder(encoder: Umt5Encoder, ids: Tensor, mask: Tensor, device: torch.device) -> Tensor:
    """Rows of a prompt; on a GPU one layer at a time is in its memory."""
    if device.type == "cpu":
        return encoder.embed(ids, mask)

    def move_in(block: nn.Module, _: object) -> None:
        block.to(device)

    def move_out(block: nn.Module, _: object, __: object) -> None:
        block.to("meta")  # not needed again

    for block in encoder.blocks:
        block.register_forward_pre_hook(move_in)
        block.register_forward_hook(move_out)
    for part in (encoder.token_embedding, encoder.norm, encoder.pos_embedding):
        if part is not None:
            part.to(device)
    return encoder.embed(ids.to(device), mask.to(device))


def load_rows(request: BuildRequest, role: str, width: int, name: str = "") -> Tensor:
    """Published rows of a prompt [1, L, D]: the only tensor of a file, or that of a name; of a batch the first.

    Raises ModelError for rows that are none, or of another width.
    """
    if request.context is not None:
        return request.context
    path, tensors = request.components.where(role), request.components.tensors(role)
    rows = tensors.get(name) if name else next(iter(tensors.values()), None)
    if rows is None:
        raise ModelError(f"{path} lacks the tensor {name}" if name else f"{path} has no tensors")
    checkpoint.check_finite({name: rows}, path)
    rows = rows if rows.ndim == 3 else rows[None]
    if (
        rows.ndim != 3
        or not rows.numel()
        or not (len(rows) == 1 or (name and len(rows)))
        or rows.shape[-1] != width
        or not rows.is_floating_point()
    ):
        shape = f"{list(rows.shape)} {rows.dtype}".replace("torch.", "")
        raise ModelError(f"{path} holds {shape}, not rows of a prompt, {width} wide")
    return rows[:1]
