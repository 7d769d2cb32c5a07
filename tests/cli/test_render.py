import io

import pytest
from rich.console import Console

from vrx.cli import closing, render
from vrx.errors import VrxError

HOSTILE = "a\x1b[31m\u202eb\x85\u2028"
SHOWN = r"a\x1b[31m\u202eb\x85\u2028"


def test_tables_and_error_lines_show_what_a_terminal_would_obey(capsys: pytest.CaptureFixture[str]) -> None:
    render.emit_table(("name", "x"), [(HOSTILE, HOSTILE)], title=HOSTILE)
    assert capsys.readouterr().out.count(SHOWN) == 3
    file = io.StringIO()
    closing.show_table(Console(file=file, width=200), [closing.Row(HOSTILE, "failed", HOSTILE)])
    assert file.getvalue().count(SHOWN) == 2
    render.error_line(VrxError(f"cannot read {HOSTILE}"))
    assert capsys.readouterr().err == f"vrx: cannot read {SHOWN}\n"


def test_names_of_every_language_and_emoji_stay() -> None:
    for text in (
        "\u00e4\u00f6\u00fc \u65e5\u672c \u0645\u06cc\u200c\u062e\u0648",
        "\U0001f468\u200d\U0001f469",
        "[red]x[/red]",
    ):
        assert render.printable(text) == text


def test_a_title_is_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    render.emit_table(("", ""), [("a", "b")], title="clip[red].mp4")
    assert "clip[red].mp4" in capsys.readouterr().out


def test_bytes_of_a_name_that_are_no_text_are_written_out() -> None:
    assert render.printable("a\udcff") == r"a\xff"


def test_numbers_between_colons_are_not_taken_for_emoji(capfd: pytest.CaptureFixture[str]) -> None:
    render.err_console().print("--crop 200:100:10:32")
    render.emit_table(("crop",), [("200:100:10:32",)])
    out, err = capfd.readouterr()
    assert "200:100:10:32" in out
    assert "200:100:10:32" in err
