"""The report of a real run in a real browser: it fits a phone, a wide screen and paper; nothing is complained of."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import replace
from importlib.resources import files

import pytest

pytestmark = pytest.mark.programs("chromium", "playwright", "pyscf")

WIDTHS = (400, 1400)


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # No sandbox: tests may run as root, and what is opened is our own file.
        started = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Return a folder of reports: of a real run, both by the command line, of a large run, of several, of failures."""
    import commands
    import run_factory

    from autotune.base import json_files
    from autotune.reports import content, html_page

    folder = tmp_path_factory.mktemp("pages")
    geometry = files("autotune.studies") / "workloads" / "water4.xyz"
    method = ("--program", "pyscf", "--method", "hf", "--basis", "sto-3g", "--max-nbody", "3")
    written = ("--record", folder / "run.json", "-o", folder / "result.json")
    commands.answer("run", geometry, *method, *written, "--quiet")
    commands.answer("report", folder / "run.json", "-o", folder / "real.html")
    run = json_files.load_run(folder / "run.json")
    long = "x" * 400
    failed = run_factory.filled(300, cores=8, failed=range(0, 300, 9))
    tasks = [replace(each, error=long, label=long if each.number % 2 else each.label) for each in failed.task_records]
    made = {
        "large": [("large.json", run_factory.filled(44_000, cores=64))],
        "several": [("before.json", run), (f"{long}.json", replace(run, content="another", workload=long))],
        "failed": [("failed.json", replace(failed, task_records=tuple(tasks)))],
        "empty": [("empty.json", replace(run, task_records=(), recalled=run.tasks))],
    }
    for name, runs in made.items():
        text = html_page.html(content.report(runs, sections=[("A plugin's", f"| {long} |\n\n{long}\n\n- `{long}`")]))
        (folder / f"{name}.html").write_text(text)
    return folder


@pytest.fixture
def opened(browser):
    """Return a function that opens a file at a width, and gives the page and all that it complained of."""
    contexts = []

    def open_at(path, width, **emulated):
        context = browser.new_context(viewport={"width": width, "height": 900}, **emulated)
        contexts.append(context)
        page, complaints = context.new_page(), []
        page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: complaints.append(request.url))
        page.goto(path.as_uri())
        # The page asks for itself and its empty icon.
        return page, lambda: [each for each in complaints if not each.startswith(("data:", path.as_uri()))]

    yield open_at
    for context in contexts:
        context.close()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["real", "large", "several", "failed", "empty"])
def test_a_report_fits_the_screen_and_the_browser_has_nothing_to_complain_of(pages, opened, tmp_path, name, width):
    from matplotlib import image

    path = pages / f"{name}.html"
    page, complaints = opened(path, width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    beyond = page.evaluate(
        "[...document.querySelectorAll('main *')].filter(e => !e.closest('svg') && e.getBoundingClientRect().right >"
        " innerWidth + 1).map(e => e.outerHTML.slice(0, 80))"
    )
    assert beyond == []
    picture = tmp_path / "page.png"
    page.screenshot(path=picture, full_page=True)
    assert complaints() == []
    pixels = (image.imread(picture)[::3, ::3, :3] * 255).astype("uint32")
    colours = Counter((pixels @ [2**16, 2**8, 1]).ravel().tolist())
    assert len(colours) > 50
    assert max(colours.values()) < 0.97 * colours.total()
    assert path.stat().st_size < 2 * 10**6


# Labels of pictures that lie on others.
OVERLAPS = (
    "[...document.querySelectorAll('svg')].flatMap(picture => [...picture.querySelectorAll('text')].filter("
    "(label, n, all) => all.slice(0, n).some(other => {"
    " const a = other.getBoundingClientRect(), b = label.getBoundingClientRect();"
    " return a.right > b.left && b.right > a.left && a.bottom > b.top && b.bottom > a.top;"
    "})).map(label => label.outerHTML))"
)
SIZES = (
    "[...document.querySelectorAll('main *')].filter(e => e.children.length == 0 && e.textContent.trim() &&"
    " (!e.closest('svg') || e.tagName == 'text')).map(e => parseFloat(getComputedStyle(e).fontSize) *"
    " (e.tagName == 'text' ? e.getScreenCTM().a || Math.abs(e.getScreenCTM().b) : 1))"
)


@pytest.mark.parametrize("width", WIDTHS)
def test_no_word_of_a_report_lies_on_another_and_all_are_large_enough_for_a_phone(pages, opened, width):
    page, _ = opened(pages / "real.html", width)
    assert page.evaluate(OVERLAPS) == []
    assert min(page.evaluate(SIZES)) >= 11


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_words_of_a_report_stand_out_from_what_is_behind_them(pages, opened, scheme):
    page, _ = opened(pages / "real.html", 1400, color_scheme=scheme)
    ratios = page.evaluate("""() => {
      const linear = x => { x /= 255; return x <= .04045 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4 };
      const light = c => { const v = c.map(linear);
        return .2126 * v[0] + .7152 * v[1] + .0722 * v[2] };
      const parts = text => text.match(/[\\d.]+/g).map(Number);
      const behind = e => { for (; e; e = e.parentElement) { const c = parts(getComputedStyle(e).backgroundColor);
        if (c.length == 3 || c[3] == 1) return c.slice(0, 3); } return [255, 255, 255] };
      return [...document.querySelectorAll('p, li, td, th, dd, dt, h1, h2, h3, figcaption, small, svg text')]
        .filter(e => e.textContent.trim()).map(e => {
          const style = getComputedStyle(e), ink = e.tagName == 'text' ? style.fill : style.color;
          const a = light(parts(ink).slice(0, 3)), b = light(behind(e));
          return (Math.max(a, b) + .05) / (Math.min(a, b) + .05) });
    }""")
    assert min(ratios) >= 4.5


def test_a_printed_report_keeps_to_its_pages(pages, opened, tmp_path):
    page, _ = opened(pages / "real.html", 1400)
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 700, "height": 990})
    assert page.evaluate("document.documentElement.scrollWidth") <= 700
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    paper = tmp_path / "report.pdf"
    page.pdf(path=paper, format="A4", print_background=True)
    content = paper.read_bytes()
    assert content.startswith(b"%PDF")
    assert 2 <= content.count(b"/Type /Page\n") <= 6


def test_pointing_at_a_bar_names_the_task(pages, opened):
    page, _ = opened(pages / "real.html", 1400)
    titles = page.evaluate("[...document.querySelectorAll('svg path title')].map(title => title.textContent)")
    assert len(titles) >= 14
    assert any(title.startswith("trimer 1 to 3\n") for title in titles)
    assert all("predicted" in title and "peak" in title for title in titles)
