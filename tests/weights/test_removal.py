"""What `models rm` and `verify` touch: the cache's own files, and nothing that is linked into it."""

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock
from huggingface_hub import constants

from vrx.errors import ModelError
from vrx.weights import hub, lock, removal, store, transfer
from vrx.weights.catalogue import Entry, PartFile

PART = PartFile(path="t/x.bin", role="transformer", repo="someone/model")
ENTRY = Entry(
    name="mine",
    family="infvsr",
    tasks=("upscale",),
    scales=(4,),
    license="MIT",
    source="Hub",
    available=True,
    parts=(PART,),
)
DIGEST = hashlib.sha256(b"right").hexdigest()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository's folder in the Hub's cache, empty."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    folder = tmp_path / "hub" / "models--someone--model"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("c" * 40)
    return folder


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A file of the user's, elsewhere."""
    path = tmp_path / "big" / "model.bin"
    path.parent.mkdir()
    path.write_bytes(b"right")
    return path


def pointer_in(repository: Path) -> Path:
    pointer = repository / "snapshots" / ("c" * 40) / PART.path
    pointer.parent.mkdir(parents=True, exist_ok=True)
    return pointer


def blob_in(repository: Path, content: bytes = b"right") -> Path:
    blob = repository / "blobs" / DIGEST
    blob.parent.mkdir(exist_ok=True)
    blob.write_bytes(content)
    return blob


def to_file(repository: Path, outside: Path) -> None:
    """The entry is a link to a file elsewhere."""
    pointer_in(repository).symlink_to(outside)


def by_dots(repository: Path, outside: Path) -> None:
    """The same, relative, through `..`."""
    pointer = pointer_in(repository)
    pointer.symlink_to(os.path.relpath(outside, pointer.parent))


def by_blob(repository: Path, outside: Path) -> None:
    """The blob that the entry leads to is a link itself."""
    (repository / "blobs").mkdir()
    (repository / "blobs" / DIGEST).symlink_to(outside)
    pointer_in(repository).symlink_to(f"../../../blobs/{DIGEST}")


def by_blobs_folder(repository: Path, outside: Path) -> None:
    """The folder of blobs is a link."""
    (repository / "blobs").symlink_to(outside.parent)
    pointer_in(repository).symlink_to(f"../../../blobs/{outside.name}")


def by_snapshots_folder(repository: Path, outside: Path) -> None:
    """The folder of snapshots is a link, and the file stands in it."""
    place = outside.parent / ("c" * 40) / PART.path
    place.parent.mkdir(parents=True)
    outside.rename(place)
    outside.symlink_to(place)
    (repository / "snapshots").symlink_to(outside.parent)


def by_other_repository(repository: Path, outside: Path) -> None:
    """The entry leads into another repository of the cache."""
    other = repository.parent / "models--other--model" / "blobs" / DIGEST
    other.parent.mkdir(parents=True)
    outside.rename(other)
    outside.symlink_to(other)
    pointer_in(repository).symlink_to(other)


LINKS = [to_file, by_dots, by_blob, by_blobs_folder, by_snapshots_folder, by_other_repository]


@pytest.mark.parametrize("link", LINKS)
def test_a_file_elsewhere_survives_its_removal(repository: Path, models: Path, outside: Path, link: object) -> None:
    link(repository, outside)  # type: ignore[operator]
    real = outside.resolve()
    done = removal.remove(ENTRY, models, set())
    assert real.read_bytes() == b"right"
    assert [path for path, _ in done.skipped] == [real]
    if link is not by_snapshots_folder:
        assert store.find_part(ENTRY, PART, models) is None
        assert not pointer_in(repository).is_symlink()


@pytest.mark.parametrize("link", LINKS)
def test_a_wrong_file_elsewhere_is_not_renamed(repository: Path, models: Path, outside: Path, link: object) -> None:
    link(repository, outside)  # type: ignore[operator]
    real = outside.resolve()
    real.write_bytes(b"wrong")
    part = replace(PART, sha256=DIGEST)
    with pytest.raises(ModelError, match=r"does not have its published hash.*left alone"):
        store.verify_part(ENTRY, part, models, force=True)
    assert real.read_bytes() == b"wrong"
    assert not list(real.parent.glob("*.bad*"))


def test_the_caches_own_bytes_and_links_go(repository: Path, models: Path) -> None:
    blob, pointer = blob_in(repository), pointer_in(repository)
    pointer.symlink_to(f"../../../blobs/{DIGEST}")
    twin = repository.parent / "twin"
    os.link(blob, twin)  # another name of the same bytes is somebody else's
    done = removal.remove(ENTRY, models, set())
    assert (done.removed, done.skipped) == ([pointer], [])
    assert not blob.exists()
    assert not pointer.is_symlink()
    assert twin.read_bytes() == b"right"


def test_a_cache_that_is_reached_through_a_link_is_the_caches_own(
    repository: Path, models: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    blob = blob_in(repository)
    pointer_in(repository).symlink_to(f"../../../blobs/{DIGEST}")
    (tmp_path / "disk").symlink_to(repository.parent)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "disk"))
    assert removal.remove(ENTRY, models, set()).skipped == []
    assert not blob.exists()


def test_a_wrong_file_in_a_cache_that_cannot_be_written_is_called_damaged(
    repository: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blob_in(repository, b"wrong")
    pointer_in(repository).symlink_to(f"../../../blobs/{DIGEST}")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(ModelError, match=r"does not have its published hash.*cannot be set aside: Permission denied"):
        store.verify_part(ENTRY, PART, models, force=True)


def partial(repository: Path, part: PartFile, etag: str) -> Path:
    path = repository / "blobs" / transfer.partial_name(etag, str(hub.Source.of(part)))
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"begun")
    return path


def test_partial_files_of_other_models_and_running_downloads_stay(repository: Path, models: Path) -> None:
    own, other = partial(repository, PART, "a"), partial(repository, replace(PART, path="y.bin"), "b")
    busy = partial(repository, PART, "c")
    with FileLock(transfer.lock_of_partial(busy), is_singleton=False):
        done = removal.remove(ENTRY, models, set())
    assert done.removed == [own]
    assert done.skipped == [(busy, "another vrx process is downloading it")]
    assert other.exists()
    assert not own.exists()


def test_partial_files_in_a_linked_folder_stay(repository: Path, models: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (repository / "blobs").symlink_to(tmp_path / "elsewhere")
    begun = partial(repository, PART, "a")
    assert [path for path, _ in removal.remove(ENTRY, models, set()).skipped] == [begun]
    assert begun.read_bytes() == b"begun"


def test_asking_for_a_lock_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    assert lock.is_free(path)
    path.touch()
    assert lock.is_free(path)
    assert not list(tmp_path.iterdir())


def test_parts_of_one_file_name_have_a_place_each(models: Path) -> None:
    unet, vae = (
        PartFile(path=f"{folder}/m.safetensors", role=role) for folder, role in (("unet", "unet"), ("vae", "vae"))
    )
    entry = replace(ENTRY, parts=(unet, vae))
    assert store.manual_path(entry, unet, models) != store.manual_path(entry, vae, models)
    bare = models / "mine" / "m.safetensors"  # where both used to stand
    bare.parent.mkdir(parents=True)
    bare.touch()
    assert store.find_manual(entry, unet, models) is store.find_manual(entry, vae, models) is None
    published = models / "mine" / "unet" / "m.safetensors"
    published.parent.mkdir()
    published.touch()
    assert store.find_manual(entry, unet, models) == published
    assert store.find_manual(entry, vae, models) is None


def test_a_part_of_a_name_of_its_own_is_still_found_where_it_used_to_stand(models: Path) -> None:
    bare = models / "mine" / "x.safetensors"  # converted
    bare.parent.mkdir(parents=True)
    bare.touch()
    assert store.find_manual(ENTRY, PART, models) == bare
    placed = store.manual_path(ENTRY, PART, models)
    placed.parent.mkdir()
    placed.touch()
    assert store.find_manual(ENTRY, PART, models) == placed
