"""Takes the screenshots in docs/images: of a run in a terminal, and of its report on a wide screen and on a phone.

`make pictures` calls it; it needs PySCF, Playwright and Chromium. What is shown is a real run, started here: nothing in
the pictures is written by hand.
"""
# ruff: noqa: INP001 - a folder of pages, not a package

from __future__ import annotations

import html
import os
import pty
import shlex
import shutil
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).parent.parent
IMAGES = ROOT / "docs" / "images"
RUN = (
    *("run", "studies/workloads/water4.xyz", "--program", "pyscf", "--method", "hf", "--basis", "6-31g*"),
    *("--bsse", "cp,nocp", "--max-nbody", "3", "--record", "run.json"),
)
COLUMNS = 112  # of the terminal
TERMINAL = """<!doctype html><meta charset="utf-8"><style>
body {{ margin: 0; background: #14181d }}
pre {{ margin: 0; padding: 18px 22px; font: 15px/1.45 monospace; color: #d7dde3; white-space: pre; width: 1020px }}
b {{ color: #7fd1b9; font-weight: normal }}
</style><pre><b>$</b> {command}
{output}</pre>"""
COLOURS = 128  # of a palette, which makes a picture a third as large


def main() -> None:
    """Run, report, and take the pictures."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        environment = {**os.environ, "AUTOTUNE_HOME": folder, "COLUMNS": "200"}
        (home / "studies").symlink_to(ROOT / "studies")
        said = on_a_terminal(home, environment)
        command = [sys.executable, "-m", "autotune", "report", "run.json"]
        subprocess.run(command, cwd=home, env=environment, check=True, stdout=subprocess.DEVNULL)
        lines = [shlex.join(("autotune", *RUN)), *said.splitlines()]
        first, *others = (wrapped(line, COLUMNS) for line in lines)
        shell = home / "terminal.html"
        shell.write_text(
            TERMINAL.format(command=html.escape(first), output=html.escape("\n".join(others))), encoding="utf-8"
        )
        take(home, shell, home / "run.html")


def wrapped(line: str, columns: int) -> str:
    """Return a line of words broken at spaces, and one that fits, such as a row of the table, as it is."""
    return line if len(line) <= columns else textwrap.fill(line, columns, break_on_hyphens=False)


def on_a_terminal(folder: Path, environment: dict[str, str]) -> str:
    """Return what the run says on a terminal: the table, and without the bar of progress, its other lines."""
    leader, follower = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "autotune", *RUN],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=follower,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        os.close(follower)
        table = b""
        while True:
            try:
                piece = os.read(leader, 65536)
            except OSError:  # how a terminal ends
                break
            if not piece:
                break
            table += piece
        errors = process.stderr.read() if process.stderr else ""
    os.close(leader)
    if process.returncode:
        raise SystemExit(errors)
    before = [line for line in errors.splitlines() if " elapsed" not in line]
    split = next(place for place, line in enumerate(before) if " tasks in " in line)
    return "\n".join([*before[:split], table.decode().replace("\r\n", "\n").rstrip(), *before[split:]])


def take(folder: Path, shell: Path, page: Path) -> None:
    """Take the pictures of the two pages."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # No sandbox: what is opened is our own file, and containers run as root.
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name, path, width, height in (
            ("terminal", shell, 1064, 300),
            ("report_wide", page, 1400, 1300),
            ("report_phone", page, 400, 1100),
        ):
            picture(browser, path, folder / f"{name}.png", width=width, height=height, whole=name == "terminal")
            keep(folder / f"{name}.png", IMAGES / f"{name}.png")
        browser.close()


def picture(browser: Browser, path: Path, target: Path, *, width: int, height: int, whole: bool) -> None:
    """Take a picture of a page, of the whole of it or of the first screen."""
    context = browser.new_context(viewport={"width": width, "height": height})
    opened = context.new_page()
    opened.goto(path.as_uri())
    opened.screenshot(path=target, full_page=whole)
    context.close()


def keep(source: Path, target: Path) -> None:
    """Store a picture with a palette."""
    from PIL import Image

    Image.open(source).convert("RGB").quantize(COLOURS).save(target, optimize=True)


if __name__ == "__main__":
    main()
