"""The real command against a server on loopback that answers as Google Drive does."""

import itertools
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clips import ClipMaker, read
from tests.models import small
from tests.weights.drive_server import FORM, QUOTA_PAGE, Drive, item_id, serving
from tests.weights.hub_server import BLOB, Pull, message
from vrx.errors import ModelError
from vrx.models.registry import FAMILIES
from vrx.weights import drive as backend
from vrx.weights import transfer
from vrx.weights.catalogue import PartFile, load_all
from vrx.weights.drive import DriveBackend, find_item, matches, natural_key
from vrx.weights.drive_pages import DriveItem, describe_page, parse_confirmation, parse_listing

RUN = "outputs/wan_deblur/time_17/checkpoint_model_{}/model.pt"
OTHER = bytes(reversed(BLOB))
Done = subprocess.CompletedProcess[str]


@pytest.fixture
def drive(monkeypatch: pytest.MonkeyPatch) -> Iterator[Drive]:
    """A folder as the authors': runs of several tasks with checkpoints of several steps, and data sets beside them."""
    monkeypatch.setattr(backend, "QUERY_PAUSE", 0.0)
    monkeypatch.setattr(transfer, "PAUSE", 0.0)
    with serving() as server:
        server.files = {
            "README.txt": b"read me",
            "data/blur_lmdb/data.mdb": b"data",
            "data/blur_lmdb/sub/lock.mdb": b"lock",
            RUN.format("000900"): OTHER,
            RUN.format("003000"): BLOB,
            "outputs/wan_deblur/time_17/config.yaml": b"",
            "outputs/wan_deblur_lean/time_17/checkpoint_model_009000/model.pt": OTHER,
        }
        yield server


def part(drive: Drive) -> dict[str, object]:
    return {"role": "transformer", "drive": drive.folder, "path": "wan_deblur/model.pt"}


@pytest.fixture
def pull(command: Pull, drive: Drive) -> Pull:
    """`vrx models WORDS mine`, whose part is in the folder."""

    def run(*words: str, **env: str) -> Done:
        done: Done = command("models", *(words or ("pull", "mine")), parts=[part(drive)], **env)
        return done

    return run


def test_the_newest_checkpoint_is_found_announced_and_downloaded_once(pull: Pull, drive: Drive, tmp_path: Path) -> None:
    row = json.loads(pull("pull", "mine", "--dry-run", "--json").stdout)
    assert (row["from"], row["size"]) == (f"{drive.folder}/wan_deblur/model.pt", "524.3 kB")
    assert drive.transfers() == []
    done = pull()
    assert done.returncode == 0, done.stderr
    assert f"downloading {drive.folder}/{RUN.format('003000')}: 524.3 kB; license: MIT" in message(done)
    path = Path(json.loads(pull("path", "mine", "--json").stdout)["file"])
    assert path.read_bytes() == BLOB
    assert path.is_relative_to(tmp_path / ".vrx")
    asked = len(drive.asked)
    assert pull().returncode == 0
    assert len(drive.asked) == asked
    assert pull("verify", "mine").returncode == 0


def test_data_sets_beside_the_checkpoints_are_not_listed(pull: Pull, drive: Drive) -> None:
    assert pull().returncode == 0
    listed = drive.listings()
    assert item_id("data/blur_lmdb") not in listed[-3:]
    assert item_id("data/blur_lmdb/sub") not in listed
    assert item_id("outputs/wan_deblur_lean") not in listed


def test_a_cut_connection_goes_on_where_it_stopped(pull: Pull, drive: Drive, tmp_path: Path) -> None:
    drive.drop_after = [300_000, 100_000]
    assert pull().returncode == 0
    assert drive.transfers() == ["", "bytes=300000-", "bytes=400000-"]
    assert not list(tmp_path.rglob("*.vrx-*"))


def test_a_failed_download_is_continued_by_the_next_run_and_removed_by_rm(
    pull: Pull, drive: Drive, tmp_path: Path
) -> None:
    drive.drop_after = [200_000, *[0] * 5]
    done = pull()
    assert done.returncode == 4
    assert "needs wan_deblur/model.pt (transformer, 524.3 kB)" in message(done)
    assert "vrx models import mine model.pt" in message(done)
    (partial,) = tmp_path.rglob("*.vrx-part")
    assert partial.stat().st_size == 200_000
    assert json.loads(pull("rm", "mine", "--json").stdout)["removed"] == str(partial)
    assert not partial.exists()
    drive.drop_after = [200_000, *[0] * 5]
    assert pull().returncode == 4
    assert pull().returncode == 0
    assert drive.transfers()[-1] == "bytes=200000-"


def test_another_step_does_not_continue_a_partial_file(pull: Pull, drive: Drive, tmp_path: Path) -> None:
    drive.drop_after = [200_000, *[0] * 5]
    assert pull().returncode == 4
    drive.files[RUN.format("010000")] = OTHER
    assert pull().returncode == 0
    assert drive.transfers()[-1] == ""
    assert Path(json.loads(pull("path", "mine", "--json").stdout)["file"]).read_bytes() == OTHER


def test_a_large_file_is_confirmed_with_the_page_s_form(pull: Pull, drive: Drive) -> None:
    drive.confirms, drive.drop_after = True, [300_000]
    assert pull().returncode == 0
    assert drive.transfers() == ["", "bytes=300000-"]
    assert all("uuid=a-1" in path for path, _ in drive.asked[-2:])


def test_a_confirmation_that_expires_during_the_transfer_is_renewed(
    drive: Drive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VRX_HOME", str(tmp_path))
    drive.confirms, drive.drop_after = True, [300_000]

    def report(done: int, size: int | None) -> None:
        drive.uuid = "b-2"

    task = DriveBackend().plan(PartFile(role="transformer", drive=drive.folder, path="wan_deblur/model.pt"))
    transfer.fetch(task.request, report)
    assert task.store().read_bytes() == BLOB
    assert "uuid=b-2" in drive.asked[-1][0]
    assert drive.asked[-1][1] == "bytes=300000-"


def test_a_form_that_leads_elsewhere_is_not_followed(pull: Pull, drive: Drive) -> None:
    with serving() as elsewhere:
        drive.confirms, drive.action = True, f"{elsewhere.address}/download"
        done = pull()
        assert elsewhere.asked == []
    assert done.returncode == 4
    assert "Virus scan warning" in message(done)


@pytest.mark.parametrize("bytes_before", [0, 200_000])
def test_a_used_up_quota_is_told_with_the_way_by_hand(
    pull: Pull, drive: Drive, tmp_path: Path, bytes_before: int
) -> None:
    if bytes_before:
        drive.drop_after = [bytes_before, *[0] * 5]
        assert pull().returncode == 4
    drive.quota = -1
    done = pull()
    assert done.returncode == 4
    text = message(done)
    newest = item_id(RUN.format("003000"))
    assert "mine needs wan_deblur/model.pt (transformer, 524.3 kB): " in text
    assert "checkpoint_model_003000/model.pt has been downloaded too often lately" in text
    assert f"Open {drive.address}/file/d/{newest}/view in a browser and download it" in text
    assert "then: vrx models import mine model.pt" in text
    assert [path.stat().st_size for path in tmp_path.rglob("*.vrx-part")] == [bytes_before] * bool(bytes_before)
    assert not list(tmp_path.rglob("model.pt"))


def test_a_folder_that_is_private_changed_or_gone_is_told(pull: Pull, drive: Drive) -> None:
    drive.private = True
    done = pull()
    assert done.returncode == 4
    assert "the folder cannot be accessed without an account, or no longer (Google Drive's page: " in message(done)
    assert f"Open {drive.folder} in a browser" in message(done)
    drive.private, drive.page = False, "<html>new design</html>"
    assert "Google Drive's page: without a title" in message(pull())
    drive.page, drive.status = "", [404]
    assert "Google Drive answers 404 for the folder" in message(pull())
    drive.files = {"outputs/x/model.pt": BLOB}
    done = pull()
    assert "Google Drive's folder has no such file (wan_deblur/model.pt; 1 others)" in message(done)
    assert f"Open {drive.folder}" in message(done)


def test_a_busy_server_is_asked_again(pull: Pull, drive: Drive) -> None:
    drive.status = [429, 503]
    assert pull().returncode == 0
    drive.status = [503] * 3
    assert pull("rm", "mine").returncode == 0
    assert "answers 503" in message(pull())


def test_pauses_before_asking_again_double(drive: Drive, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    monkeypatch.setattr(backend, "QUERY_PAUSE", 0.5)
    drive.status = [429, 503]
    source = backend.DriveSource.of(PartFile(**part(drive)))  # type: ignore[arg-type]
    assert backend.list_files(source, {"nothing"})
    assert pauses == [0.5, 1.0]


def test_offline_and_without_a_network_the_way_by_hand_is_told(drive: Drive, command: Pull) -> None:
    for env, words in (({"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set"), ({}, "cannot download the folder from")):
        unreachable = part(drive) | {"drive": "http://127.0.0.1:1/drive/folders/1ROOTfolderOfTheAuthors"}
        done = command("models", "pull", "mine", parts=[unreachable], **env)
        assert done.returncode == 4
        assert words in message(done)
        assert "Open http://127.0.0.1:1/drive/folders/1ROOTfolderOfTheAuthors in a browser" in message(done)


def test_a_file_that_changed_since_it_was_first_seen_is_refused(pull: Pull, drive: Drive) -> None:
    assert pull().returncode == 0
    path = Path(json.loads(pull("path", "mine", "--json").stdout)["file"])
    path.unlink()
    drive.files[RUN.format("003000")] = OTHER
    done = pull()
    assert done.returncode == 4
    assert "has changed since it was first verified. Remove it with: vrx models rm" in message(done)
    assert pull("rm", "mine").returncode == 0
    assert pull().returncode == 0


def test_an_imported_file_is_preferred_and_nothing_is_asked(drive: Drive, command: Pull, tmp_path: Path) -> None:
    target = tmp_path / ".vrx" / "models" / "mine" / "transformer" / "model.pt"
    target.parent.mkdir(parents=True)
    target.write_bytes(OTHER)
    assert command("models", "pull", "mine", parts=[part(drive)]).returncode == 0
    assert drive.asked == []


def test_other_paths_count_where_the_first_has_no_file(drive: Drive) -> None:
    source = backend.DriveSource.of(PartFile(**part(drive)))  # type: ignore[arg-type]
    for paths, expected in (
        (("nothing/model.pt", "wan_deblur/model.pt"), RUN.format("003000")),
        (("wan_deblur/model.pt", "wan_deblur_lean/model.pt"), RUN.format("003000")),
        (("wan_deblur_lean/model.pt",), "outputs/wan_deblur_lean/time_17/checkpoint_model_009000/model.pt"),
    ):
        found = find_item(source, PartFile(drive=drive.folder, path=paths[0], alternatives=paths[1:]))[1]
        assert found.path == expected


def test_a_folder_without_end_is_given_up(drive: Drive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "MAX_FOLDERS", 3)
    source = backend.DriveSource.of(PartFile(**part(drive)))  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="more than 3 folders"):
        backend.list_files(source, {"nothing"})


def test_two_hundred_folders_are_searched_and_no_more(drive: Drive, monkeypatch: pytest.MonkeyPatch) -> None:
    """The root counts, too."""
    source, count = backend.DriveSource.of(PartFile(**part(drive))), 0  # type: ignore[arg-type]

    def contents(source: object, folder: DriveItem) -> list[DriveItem]:
        if folder.path:
            return [DriveItem(f"{folder.path}/model.pt", folder.id, is_folder=False)]
        return [DriveItem(f"{number}", f"{number}", is_folder=True) for number in range(count)]

    monkeypatch.setattr(backend, "list_folder", contents)
    count = 199
    assert len(backend.list_files(source, {"nothing"})) == 199
    count = 200
    with pytest.raises(ModelError, match="more than 200 folders"):
        backend.list_files(source, {"nothing"})


def test_paths_match_with_folders_between_and_sort_by_their_numbers() -> None:
    assert matches("outputs/a/run/step/model.pt", "a/model.pt")
    assert matches("a/model.pt", "a/model.pt")
    assert not matches("outputs/a_lean/run/model.pt", "a/model.pt")
    assert not matches("model.pt/a", "a/model.pt")
    assert not matches("a/other.pt", "a/model.pt")
    steps = ["m_10000/x", "m_9000/x", "m_000900/x"]
    assert sorted(steps, key=natural_key) == ["m_000900/x", "m_9000/x", "m_10000/x"]


def test_the_catalogue_names_its_folder_by_address(command: Pull, drive: Drive) -> None:
    for change, words in (
        ({"drive": "https://drive.google.com/file/d/1ROOTfolderOfTheAuthors/view"}, "must be the address of a folder"),
        ({"drive": "http://drive.google.com/drive/folders/1ROOTfolderOfTheAuthors"}, "must be the address of a folder"),
        ({"repo": "a/b"}, "'drive' excludes 'repo' and 'url'"),
    ):
        done = command("models", "path", "mine", parts=[part(drive) | change])
        assert done.returncode == 4
        assert words in message(done)


def test_instantvir_s_checkpoints_are_found_by_the_names_of_their_configurations() -> None:
    entries = load_all(FAMILIES)
    tasks = {"inpaint": "inpainting", "deblur": "spatial_gaussian", "sr4": "sr4"}
    for (task, words), lean in itertools.product(tasks.items(), ("", "-lean")):
        part = next(part for part in entries[f"instantvir-{task}{lean}"].parts if part.role == "transformer")
        assert part.drive == "https://drive.google.com/drive/folders/1TMAIPmuGhwiaR4MtQdnHZwlrAbz3qPNa"
        folder = f"wan_causal_inverse_{words}{lean.replace('-lean', '_leanvae')}"
        assert part.path == f"{folder}/model.pt"
        longer = (f"{folder}_from_wan_ckpt/model.pt",) if (task, lean) == ("inpaint", "-lean") else ()
        assert part.alternatives == longer
    source = backend.DriveSource.of(part)
    assert (source.server, source.content_server) == (
        "https://drive.google.com",
        "https://drive.usercontent.google.com",
    )
    assert source.is_own("https://drive.usercontent.google.com/download?id=1")
    assert not source.is_own("https://drive.google.com.example.com/download")


def test_pages_are_read_as_drive_writes_them() -> None:
    page = (
        '<div class="flip-entries"><a href="https://drive.google.com/drive/folders/1abcdefghij?usp=x"><div>'
        '<img src="i.png"></div><div class="flip-entry-title">runs &amp;\n more</div></a>'
        '<a href="https://drive.google.com/file/d/1klmnopqrst/view?usp=drive_web"><b>a&lt;1&gt;.pt</b></a>'
        '<a href="https://docs.google.com/document/d/1uvwxyzabcd/edit">notes</a><a href="/about">about</a></div>'
    )
    items = parse_listing(page, "top")
    assert items == [
        DriveItem("top/runs & more", "1abcdefghij", is_folder=True),
        DriveItem("top/a<1>.pt", "1klmnopqrst", is_folder=False),
    ]
    assert parse_listing('<div class="flip-entries"></div>', "") == []
    assert parse_listing("<html>sign in</html>", "") is None
    assert parse_confirmation(FORM.format(id="7", action="/download?a=1&amp;id=0", uuid="u"), "https://x.y/z") == (
        "https://x.y/download?a=1&id=7&export=download&confirm=t&uuid=u"
    )
    assert parse_confirmation(QUOTA_PAGE, "https://x.y/z") == ""
    assert "downloaded too often lately" in describe_page(QUOTA_PAGE)
    assert "downloaded too often" in describe_page("<title>Google Drive - Quota exceeded</title>andere Sprache")
    assert describe_page("<title> Not \n Found&#33; </title>").endswith("(Google Drive's page: Not Found!)")


@pytest.mark.parametrize("broken", ["<![if", "<![é", "<![&#xD800;<!DOCTYPE", "<![<?", "<!--", "<a", "&#x110000;", "\0"])
def test_a_page_that_is_broken_off_or_no_html_counts_as_far_as_it_can_be_read(broken: str) -> None:
    page = '<div class="flip-entries"><a href="/file/d/1klmnopqrst/view">a.pt</a>' + broken
    assert parse_listing(page, "") == [DriveItem("a.pt", "1klmnopqrst", is_folder=False)]
    assert parse_confirmation(broken, "https://x.y/z") == ""


def test_a_run_with_a_prompt_pulls_the_checkpoint_and_loads_it(
    command: Pull, drive: Drive, clip: ClipMaker, tmp_path: Path
) -> None:
    folder = small.instantvir(tmp_path / "published")
    drive.files = {RUN.format("000100"): (folder / "model.pt").read_bytes()}
    others = {"autoencoder": "Wan2.1_VAE.pth", "text": "models_t5_umt5-xxl-enc-bf16.pth", "tokenizer": "tokenizer.json"}
    for role, name in others.items():
        target = tmp_path / ".vrx" / "models" / "mine" / role / name
        target.parent.mkdir(parents=True)
        (folder / name).rename(target)
    sizes = ", ".join(f"{key} = {value}" for key, value in {**small.HEADS, "text_len": 12}.items())
    lines = ['[models.mine]\nfamily = "instantvir"\ntasks = ["deblur"]\nlicense = "MIT"\nsource = "Drive"']
    lines += ["available = true\ntakes_prompt = true\n[[models.mine.parts]]", 'role = "transformer"']
    lines += [f'drive = "{drive.folder}"\npath = "wan_deblur/model.pt"\nsizes = {{{sizes}}}']
    lines += [f'[[models.mine.parts]]\nrole = "{role}"\npath = "{name}"' for role, name in others.items()]
    own = tmp_path / "own.toml"
    own.write_text("\n".join(lines))
    path = clip(size=(48, 32), frames=3)
    words = ("deblur", path, "--model", "mine", "--prompt", "a cat")
    done = command(*words, "-o", "out.mkv", VRX_WEIGHTS_FILE=str(own))
    assert done.returncode == 0, done.stderr
    assert "downloading" in message(done)
    assert read(tmp_path / "out.mkv").frames.shape == (3, 32, 48, 3)
    asked = len(drive.asked)
    assert command(*words, "-o", "again.mkv", "--offline", VRX_WEIGHTS_FILE=str(own)).returncode == 0
    assert len(drive.asked) == asked
    assert (tmp_path / "again.mkv").read_bytes() == (tmp_path / "out.mkv").read_bytes()


def test_offline_a_run_tells_the_way_by_hand(command: Pull, clip: ClipMaker) -> None:
    words = ("deblur", clip(size=(48, 32), frames=2), "--model", "instantvir-deblur", "--prompt", "glasses")
    text = message(command(*words, "--offline"))
    assert "instantvir-deblur needs wan_causal_inverse_spatial_gaussian/model.pt (transformer, over 2." in text
    assert "--offline is set. Open https://drive.google.com/drive/folders/1TMAIPmuGhwiaR4MtQdnHZwlrAbz3qPNa in" in text
    assert text.endswith("then: vrx models import instantvir-deblur model.pt")
