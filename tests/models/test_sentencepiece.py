"""The reader of SentencePiece's vocabularies, and the prompts of SATB-VR that it serves."""

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer

from tests.models import small_satbvr as small
from tests.models.small import TEXT
from vrx.errors import ModelError
from vrx.models.components import Components
from vrx.models.loader import read_folder
from vrx.models.satbvr import text
from vrx.models.sentencepiece import describe, read_model

PIECES = [("<pad>", 0.0, 3), ("</s>", 0.0, 3), ("<unk>", 0.0, 2), ("▁", -5.0, 1), ("▁a", -1.0, 1), ("b", -2.0, 1)]


def test_a_vocabulary_is_read_and_cuts_words() -> None:
    content = small.vocabulary(PIECES)
    pieces, unknown, characters = read_model(content)
    assert pieces == [(piece, score) for piece, score, _ in PIECES]
    assert (unknown, characters) == (2, b"")
    tokenizer = Tokenizer.from_str(describe(content))
    assert tokenizer.encode("ab  a ", add_special_tokens=False).ids == [4, 5, 4]
    assert tokenizer.encode("z", add_special_tokens=False).ids == [3, 2]
    assert tokenizer.token_to_id("</s>") == 1


@pytest.mark.parametrize(
    "content", [b"", b"no vocabulary", b"\x0a\xff", small.vocabulary(PIECES)[:-3], small.vocabulary(PIECES[:2])]
)
def test_another_file_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "spiece.model"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"cannot read the tokenizer .*spiece\.model"):
        Components({"tokenizer": path}).tokenizer()


def test_a_prompt_is_padded_encoded_and_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small.text_encoder(tmp_path)
    components = read_folder(tmp_path)
    assert set(components.files) == {"text", "tokenizer"}
    rows = text.encode_prompt(components, "a cat", torch.device("cpu"), tmp_path / "cache")
    assert rows.shape == (1, 226, TEXT) == (1, text.LENGTH, TEXT)
    network = text.load_encoder(components)
    ids = torch.tensor([[3, 4, 1, *[0] * 223]])
    assert torch.equal(rows, network(ids, torch.ones_like(ids)))
    assert rows[0, 3:].abs().min() > 0  # padding is not masked
    monkeypatch.setattr(text, "load_encoder", lambda components: pytest.fail("loaded again"))
    assert torch.equal(text.encode_prompt(components, "a cat", torch.device("cpu"), tmp_path / "cache"), rows)
