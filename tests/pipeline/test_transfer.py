"""What a run says about what it cannot keep, before any work, and what the result holds."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import pytest

from tests.clips import ClipMaker, tones, write_counted, write_sounding
from tests.media.boxes import dolby_vision, spherical, stereo, video
from vrx import events
from vrx.errors import UsageError
from vrx.geometry import Crop, parse_box
from vrx.pipeline.batch import Batch
from vrx.pipeline.plan import Plan
from vrx.previews import PreviewSettings
from vrx.settings import Job, ModelSettings, OutputSettings, RestoreSettings, SelectionSettings, Task


def job(source: Path, output: str | None = None, start: Fraction | None = None, **changes: object) -> Job:
    return Job(
        source=str(source),
        model=ModelSettings(device="cpu"),
        restore=RestoreSettings(task=Task.UPSCALE, scale=2),
        selection=SelectionSettings(start=start),
        output=OutputSettings(path=None if output is None else str(source.with_name(output)), **changes),  # type: ignore[arg-type]
    )


def planned(job: Job) -> Plan:
    """A plan; its notes were all told before any work, once each."""
    heard: list[events.Event] = []
    plan = Batch([job], heard.append).plan(0)
    assert [event.text for event in heard if isinstance(event, events.Noted)] == list(plan.notes)
    return plan


def chaptered(path: Path) -> Path:
    """A QuickTime file with two chapters, a timecode and tags by key, as cameras write."""
    with av.open(str(path), "w", options={"movflags": "use_metadata_tags"}) as box:
        box.metadata.update({"title": "T", "com.apple.quicktime.model": "Phone 9"})
        stream = box.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.metadata["timecode"] = "01:00:00:00"
        box.set_chapters(
            [
                {"id": n, "start": 2 * n, "end": 2 * n + 2, "time_base": Fraction(1, 25), "metadata": {}}
                for n in range(2)
            ]
        )
        for _ in range(4):
            box.mux(stream.encode(av.VideoFrame(64, 48, "yuv420p")))
        box.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("codec", "suffix", "unused"),
    [
        ("prores", ".mov", ["--crf", "--preset"]),
        ("vp9", ".webm", ["--preset"]),
        ("hevc", ".mov", []),
        ("auto", ".png", []),  # pictures of a batch with videos
    ],
)
def test_settings_that_an_encoder_lacks_are_said(clip: ClipMaker, codec: str, suffix: str, unused: list[str]) -> None:
    source = job(clip("a.mkv", frames=1), f"b{suffix}", codec=codec, crf=10, preset="slow")
    found = [note for note in planned(source).notes if "which changes nothing" in note]
    assert [note.split(" has no ")[1].split(",")[0] for note in found] == unused


def test_a_plain_video_is_planned_without_a_word(clip: ClipMaker) -> None:
    assert planned(job(clip("a.mp4", codec="libx264", audio=True))).notes == ()


@pytest.mark.parametrize("output", [None, "{stem}.new.{ext}"])
def test_a_container_that_vrx_chooses_keeps_the_sound(tmp_path: Path, output: str | None) -> None:
    source = job(write_sounding(tmp_path / "a.flv", "flv", "adpcm_swf"), output)
    assert any("written as Matroska" in note for note in planned(source).notes)
    result = Batch([source], events.ignore).restore(0).path
    assert result == tmp_path / ("a.x2.mkv" if output is None else "a.new.mkv")
    with av.open(str(result)) as box:
        assert sum(frame.samples for frame in box.decode(audio=0)) >= 6000


def test_a_container_that_the_user_names_is_taken_and_the_loss_said(tmp_path: Path) -> None:
    plan = planned(job(write_sounding(tmp_path / "a.avi", "mpeg4", "adpcm_ms"), "b.mp4"))
    assert plan.container == "mp4"
    assert plan.notes[0].endswith("mp4 cannot hold audio 1 (adpcm_ms); converted to aac; use -o NAME.mkv to avoid loss")


def test_uncompressed_sound_is_converted_for_mp4_and_that_is_said_once(tmp_path: Path) -> None:
    source = write_counted(tmp_path / "a.avi", words="-c:v mpeg4 -c:a pcm_s16le -ac 2")
    heard: list[events.Event] = []
    result = Batch([job(source)], heard.append).restore(0).path
    assert result == tmp_path / "a.x2.mp4"
    notes = [event.text for event in heard if isinstance(event, events.Noted) and event.code == "stream-conversion"]
    assert len(notes) == 1
    with av.open(str(result)) as box:
        (sound,) = box.streams.audio
        assert (sound.codec_context.name, sound.channels, sound.rate) == ("aac", 2, 48000)
    ((tone, begin, end),) = tones(result)
    assert tone == 500
    assert begin == pytest.approx(0, abs=0.03)
    assert end == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("restore", [Task.UPSCALE, Task.INPAINT, Task.DEBLUR])
def test_prores_stays_prores_in_mov(tmp_path: Path, restore: Task) -> None:
    source = write_counted(tmp_path / "a.mov", words="-c:v prores_ks -pix_fmt yuv422p10le -c:a pcm_s16le")
    task = {
        Task.UPSCALE: RestoreSettings(task=Task.UPSCALE, scale=2),
        Task.DEBLUR: RestoreSettings(task=Task.DEBLUR, sigma=1.0),
        Task.INPAINT: RestoreSettings(task=Task.INPAINT, boxes=(parse_box("4,4,8,8"),)),
    }[restore]
    for output, codec, encoder in (
        (None, "auto", "prores_ks"),
        ("b.mov", "auto", "prores_ks"),
        ("b.mkv", "auto", "libx265"),
        ("b.mov", "h264", "libx264"),
    ):
        plan = planned(replace(job(source, output, codec=codec), restore=task))
        assert (plan.encoder, plan.notes) == (encoder, ())
    other = write_counted(tmp_path / "c.mov", words="-c:v mpeg4 -c:a pcm_s16le")
    assert planned(replace(job(other), restore=task)).encoder == "libx264"


@pytest.mark.parametrize(
    ("words", "encoder", "pix_fmt"),
    [
        ("-s 256x144 -c:v dnxhd -profile:v dnxhr_hq -pix_fmt yuv422p", "dnxhd", "yuv422p10le"),
        ("-s 256x144 -c:v dnxhd -profile:v dnxhr_444 -pix_fmt yuv444p10le", "dnxhd", "yuv444p10le"),
        ("-c:v prores_ks -pix_fmt yuv422p10le", "prores_ks", "yuv422p10le"),
    ],
)
def test_codecs_of_editing_stay_in_mov_whatever_held_them(
    tmp_path: Path, words: str, encoder: str, pix_fmt: str
) -> None:
    mov, mxf = (
        write_counted(tmp_path / f"a.{kind}", rate=25, words=f"{words} -c:a pcm_s16le") for kind in ("mov", "mxf")
    )
    for source, wanted in ((mov, None), (mxf, None), (mxf, "b.mov")):
        plan = planned(job(source, wanted))
        assert (plan.encoder, plan.pix_fmt, plan.notes) == (encoder, pix_fmt, ())
        assert Path(plan.output).suffix == ".mov"
    assert planned(job(mov, "b.mkv")).encoder in ("libx264", "libx265")


def test_dnxhr_is_written_by_its_profile_and_not_where_it_is_too_small(tmp_path: Path) -> None:
    source = write_counted(tmp_path / "a.mov", frames=2, words="-s 256x144 -c:v dnxhd -profile:v dnxhr_hq -an")
    small = SelectionSettings(crop=Crop(200, 100, 0, 0))
    restore = RestoreSettings(task=Task.INPAINT, boxes=(parse_box("4,4,8,8"),))
    result = Batch([replace(job(source), restore=restore)], events.ignore).restore(0).path
    assert result is not None
    with av.open(str(result)) as box:
        stream = box.streams.video[0]
        assert (stream.codec_context.name, stream.profile) == ("dnxhd", "DNXHR HQX")
    cropped = replace(job(source), restore=restore, selection=small)
    assert planned(cropped).encoder == "libx264"
    with pytest.raises(UsageError, match="dnxhd cannot hold 200x100, at least 256x120"):
        planned(replace(cropped, output=OutputSettings(path=str(tmp_path / "b.mov"), codec="dnxhr")))


def test_lossless_stays_lossless_in_mkv_and_says_so(tmp_path: Path) -> None:
    source = write_counted(tmp_path / "a.mkv", frames=2, words="-c:v ffv1 -an")
    plan = planned(job(source))
    assert (plan.encoder, plan.notes) == (
        "ffv1",
        (f"{source}: FFV1 stays FFV1, lossless; for a smaller file: --codec h264",),
    )
    assert planned(job(source, "b.mp4")).encoder == "libx264"
    assert planned(job(source, crf=18)).encoder == "libx264"
    assert planned(job(source, codec="h264")).encoder == "libx264"
    other = write_counted(tmp_path / "c.mkv", frames=2, words="-c:v mpeg4 -an")
    assert planned(job(other)).encoder == "libx264"


def test_statistics_of_the_source_are_not_copied(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as box:
        stream = box.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.metadata.update({"BPS-eng": "44266", "_STATISTICS_TAGS": "BPS", "ALPHA_MODE": "1", "MYTAG": "mine"})
        box.mux(stream.encode(av.VideoFrame(64, 48, "yuv420p")))
        box.mux(stream.encode(None))
    batch = Batch([job(path, "b.mkv")], events.ignore)
    assert batch.plan(0).notes == ()
    batch.restore(0)
    with av.open(str(tmp_path / "b.mkv")) as box:
        tags = box.streams.video[0].metadata
        assert tags.keys() & {"BPS-eng", "_STATISTICS_TAGS", "ALPHA_MODE"} == set()
        assert tags["MYTAG"] == "mine"


def test_data_beside_the_pictures_is_named_before_work(clip: ClipMaker) -> None:
    path = video(clip, "vr.mp4", spherical() + stereo() + dolby_vision(8))
    notes = "\n".join(planned(job(path, "b.mp4")).notes)
    assert all(word in notes for word in ("360° projection", "stereo 3D", "Dolby Vision"))
    assert "stereo 3D" not in "\n".join(planned(job(path, "b.mkv")).notes)


@pytest.mark.parametrize("name", ["b.mov", "b.mp4", "b.mkv"])
def test_chapters_timecode_and_tags_by_key_are_kept(tmp_path: Path, name: str) -> None:
    source = job(chaptered(tmp_path / "a.mov"), name)
    batch = Batch([source], events.ignore)
    assert batch.plan(0).notes == ()
    batch.restore(0)
    with av.open(str(tmp_path / name)) as box:
        tags = {key.lower(): value for key, value in box.metadata.items()}
        assert tags["com.apple.quicktime.model"] == "Phone 9"
        assert tags["title"] == "T"
        assert len(box.chapters()) == 2
        picture = {key.lower(): value for key, value in box.streams.video[0].metadata.items()}
        assert picture["timecode"] == "01:00:00:00"


def test_a_part_says_that_chapters_and_timecode_are_left_out(tmp_path: Path) -> None:
    notes = planned(job(chaptered(tmp_path / "a.mov"), "b.mov", start=Fraction(1, 25))).notes
    assert ["chapters are dropped" in note for note in notes] == [True, False]
    assert "the timecode is dropped" in notes[1]


def test_pictures_say_what_they_leave_out(clip: ClipMaker) -> None:
    (note,) = planned(job(clip("a.mkv", audio=True), "f_%03d.png")).notes
    assert "pictures cannot hold audio 1 (flac)" in note


def test_a_moving_picture_becomes_one_that_browsers_play_and_a_preview_of_it_says_nothing_of_that(
    clip: ClipMaker,
) -> None:
    source = clip("a.gif", codec="gif", pix_fmt="rgb8", frames=3)
    heard: list[events.Event] = []
    (text,) = Batch([job(source)], heard.append).plan(0).notes
    found = {note.code: note.facts for note in heard if isinstance(note, events.Noted)}
    assert found["pixel-format-chosen"] == {"pix_fmt": "yuv420p"}
    notes = Batch([replace(job(source), preview=PreviewSettings())], events.ignore).plan(0).notes
    assert text not in notes
    assert all(note.startswith("shows ") for note in notes)
