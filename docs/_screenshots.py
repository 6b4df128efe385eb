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
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).parent.parent
IMAGES = ROOT / "docs" / "images"
RUN = (
    *("run", "studies/workloads/water4.xyz", "--program", "pyscf", "--method", "hf", "--basis", "6-31g*"),
    *("--bsse", "cp,nocp", "--max-nbody", "3"),
)
SHOWN = shlex.join(("autotune", *RUN))
TERMINAL = """<!doctype html><meta charset="utf-8"><style>
body {{ margin: 0; background: #14181d }}
pre {{ margin: 0; padding: 18px 22px; font: 15px/1.45 monospace; color: #d7dde3; white-space: pre; width: 1090px }}
b {{ color: #7fd1b9; font-weight: normal }}
</style><pre><b>$</b> {command}
{output}</pre>"""
COLOURS = 128  # of a palette, which makes a picture a third as large


def main() -> None:
    """Run, report, and take the pictures."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        environment = {**os.environ, "AUTOTUNE_HOME": folder, "COLUMNS": "200"}
        record, page = home / "record.json", home / "report.html"
        said = on_a_terminal([*RUN, "--record", str(record)], environment)
        command = [sys.executable, "-m", "autotune", "report", str(record), "-o", str(page)]
        subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)
        shell = home / "terminal.html"
        shell.write_text(TERMINAL.format(command=html.escape(SHOWN), output=html.escape(said)), encoding="utf-8")
        take(home, shell, page)


def on_a_terminal(arguments: list[str], environment: dict[str, str]) -> str:
    """Return what a command says on a terminal: the table, and without the bar of progress, its other lines."""
    leader, follower = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "autotune", *arguments],
        cwd=ROOT,
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
            ("terminal", shell, 1134, 300),
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
