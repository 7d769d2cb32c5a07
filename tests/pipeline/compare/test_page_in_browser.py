"""The page of a comparison in a real browser: dividers, video, plots, keyboard, phone, dark and light."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests import browser
from tests.pipeline.compare.clips import HEIGHT, WIDTH, write
from vrx import api

pytestmark = pytest.mark.browser
DARK, BRIGHT, TRUTH = 40, 200, 120  # levels of the videos, a step brighter with every frame
COUNT, STEP = 12, 4
NAMES = ("reference", "A", "B")


def ramp(level: int) -> np.ndarray:
    """Even frames [T, H, W, 3], each brighter than the one before."""
    levels = np.arange(COUNT, dtype=np.uint8) * STEP + np.uint8(level)
    return np.broadcast_to(levels[:, None, None, None], (COUNT, HEIGHT, WIDTH, 3)).copy()


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page about two videos and a truth, under names that try to be markup."""
    folder = tmp_path_factory.mktemp("page")
    hostile = "<img src=x onerror=document.title=1>&\"'.mkv"
    levels = {hostile: DARK, "b.mkv": BRIGHT, "t.mkv": TRUTH}
    first, second, truth = (write(folder / name, ramp(level)) for name, level in levels.items())
    page = folder / "page.html"
    api.write_page(api.compare(first, second, truth), page, NAMES, f"vrx compare '{hostile}' </code><b>x")
    return page


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Page]:
    """One browser for all tests."""
    with browser.opened(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def page(shared: browser.Page, path: Path) -> browser.Page:
    shared.problems.clear()
    shared.requests.clear()
    shared.size(1280, 900)
    shared.scheme("light")
    shared.open(path)
    return shared


def levels(page: browser.Page, selector: str) -> list[int]:
    """Of a row of a picture, at a tenth, four tenths, six tenths and nine tenths of the width, away from labels."""
    box = page.box(selector)
    y = round(box["top"] + box["height"] * 0.8)
    picture = page.picture()
    return [int(picture[y, round(box["left"] + box["width"] * share)].mean()) for share in (0.1, 0.4, 0.6, 0.9)]


def test_a_divider_is_moved_by_keys_and_pointer(page: browser.Page) -> None:
    a, b = pytest.approx(DARK, abs=3), pytest.approx(BRIGHT, abs=3)
    shown = ".still .stage"
    first = levels(page, shown)
    change = first[0] - DARK  # the frame that is shown is not the first one: all are equally far apart
    assert first == [DARK + change] * 2 + [BRIGHT + change] * 2 or first == [a, a, b, b]
    page.get("document.querySelector('.still .divider').focus()")
    page.press("ArrowRight", 40)  # half a percent each
    moved = levels(page, shown)
    assert [abs(one - other) > 100 for one, other in zip(first, moved, strict=True)] == [False, False, True, False]
    page.press("Home")
    assert len(set(levels(page, shown))) == 1
    box = page.box(shown)
    page.click(box["left"] + box["width"] * 0.25, box["top"] + box["height"] / 2)
    assert [abs(x - first[0]) < 5 for x in levels(page, shown)] == [True, False, False, False]
    spoken = page.get("document.querySelector('.still .divider').getAttribute('aria-valuetext')")
    assert spoken.endswith("% A, the rest B")


def test_the_reference_can_take_a_side(page: browser.Page) -> None:
    before = levels(page, ".still .stage")
    page.get(
        "(() => { const s = document.querySelector('.still [data-role=left]'); s.value = '0'; "
        "s.dispatchEvent(new Event('input', {bubbles: true})) })()"
    )
    after = levels(page, ".still .stage")
    assert after[0] - before[0] == pytest.approx(TRUTH - DARK, abs=3)
    assert after[3] == before[3]
    assert page.get("document.querySelector('.still .stage').dataset.left") == "reference"


def test_videos_are_in_step(page: browser.Page) -> None:
    page.wait("!document.querySelector('.clip').hidden")
    assert page.get("document.getElementById('no-video').hidden")
    level = "document.querySelector('canvas').getContext('2d').getImageData({}, 30, 1, 1).data[0]"
    left, right = level.format(4), level.format(f"{WIDTH} - 5")
    for number in range(4):
        shown = (f"Math.abs({side} - {start + STEP * number}) <= 1" for side, start in ((left, DARK), (right, BRIGHT)))
        page.wait(" && ".join(shown))
        place = f"document.querySelector('.clip [data-role=place]').textContent.startsWith('frame {number},')"
        assert page.get(place)
        page.get("document.querySelector('.clip [data-role=forward]').click()")
    page.get("document.querySelector('.clip [data-role=play]').click()")
    page.wait("document.querySelector('.clip [data-role=seek]').value > 6")
    assert page.get("document.querySelector('.clip [data-role=play]').textContent") == "Pause"


def test_plots_are_read_by_keys_and_pointer(page: browser.Page) -> None:
    readout = "document.querySelector('[data-figure=psnr] output').textContent"
    mean = page.get(readout)
    page.get("document.getElementById('cursor').focus()")
    page.press("ArrowRight", 3)
    assert page.get("document.querySelector('.cursor-row output').textContent") == "frame 3, 0.12 s"
    assert page.get(readout) != "" != mean
    assert page.get("getComputedStyle(document.querySelector('.cursor')).visibility") == "visible"
    box = page.box("[data-figure=psnr] svg")
    page.call("Input.dispatchMouseEvent", type="mouseMoved", x=box["left"] + box["width"] - 1, y=box["top"] + 20)
    assert page.get("document.getElementById('cursor').value") == str(COUNT - 1)
    lines = page.get("[...document.querySelectorAll('.plots polyline')].map(l => l.getBoundingClientRect().width)")
    assert min(lines) > 100


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(page: browser.Page, scheme: str) -> None:
    page.size(390, 844, phone=True)
    page.scheme(scheme)
    assert page.get("document.scrollingElement.scrollWidth") <= 390
    assert page.get("document.querySelector('#result table').getBoundingClientRect().right") <= 390
    page.get("scrollTo(0, 0)")
    corner = page.picture()[:8, :8].mean()
    assert corner > 230 if scheme == "light" else corner < 40
    touched = "[...document.querySelectorAll('button, select')].filter(e => e.offsetHeight).map(e => e.offsetHeight)"
    assert min(page.get(touched)) >= 40


def test_focus_is_seen_and_reaches_everything(page: browser.Page) -> None:
    page.wait("!document.querySelector('.clip').hidden")
    count = page.get("document.querySelectorAll('input, select, button, summary, [tabindex]').length")
    reached = []
    for _ in range(count):
        page.press("Tab")
        script = "(() => { const e = document.activeElement; return [e.tagName, e.className, "
        seen = "e.matches('.divider') ? getComputedStyle(e.nextElementSibling, '::after').outlineStyle : "
        reached.append(page.get(script + seen + "getComputedStyle(e).outlineStyle] })()"))
    assert {style for _, _, style in reached} == {"solid"}
    assert sum(name == "divider" for _, name, _ in reached) == 2
    unnamed = "[...document.querySelectorAll('input')].filter(e => !e.getAttribute('aria-label')).length"
    assert page.get(unnamed) == 0


def test_nothing_is_asked_of_the_network_and_names_stay_text(page: browser.Page) -> None:
    page.wait("!document.querySelector('.clip').hidden")
    assert page.get("document.title") == "A and B compared, beside the reference"
    assert page.get("document.querySelectorAll('img[src=x], code b').length") == 0
    assert "<img src=x onerror=document.title=1>&\"'.mkv" in page.get("document.querySelector('.videos').textContent")
    assert page.get("document.querySelector('code').textContent").endswith("</code><b>x")
    assert {request.partition(":")[0] for request in page.requests} <= {"file", "data", "blob"}
    assert sum(request.startswith("file:") for request in page.requests) == 1
    assert page.problems == []
