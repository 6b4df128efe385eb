"""Run benchmarks and write their records.

    python -m tests.bench --list
    python -m tests.bench overhead --output results/overhead.json
    python -m tests.bench against_upstream layers --repeats 3 --output results
    python -m tests.bench all --output results

Several run one after the other, each in a process of its own and with the same options; `all` are those of
`make bench`. The options of one: `python -m tests.bench NAME --help`. Leave the machine alone meanwhile.
"""

from __future__ import annotations

import argparse
import ast
import compileall
import dataclasses
import importlib
import json
import os
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness import Benchmark

HERE = Path(__file__).parent
# Not on PYTHONPATH: what is measured in other processes finds what a user's would.
sys.path[:0] = [str(HERE), *(str(HERE.parent / folder) for folder in ("support", "integration"))]

ALL = (
    *("against_upstream", "overhead", "water64", "lost_node", "layers", "large", "prediction", "efficiency"),
    *(
        "ablation",
        "program_tuning",
        "hard",
        "untouched",
        "equality",
        "properties",
        "checks",
        "calibration",
        "calibration_aa",
        "regret",
        "programs",
    ),
    *("upstream_suite", "real_files", "regress_aa", "nodes --pictures docs/images", "comparison"),
)
QUIET = 0.5  # load of each core above which a warning is due
LONG = 200  # characters of a list that is not printed


def main(words: list[str]) -> int:
    """Run the benchmarks that are named before the first option; return the exit status."""
    names = list(takewhile(lambda word: not word.startswith("-"), words))
    options = words[len(names) :]
    if not names:
        print("\n".join(f"{name:18}{first}" for name, first in first_lines().items()) if "--list" in words else __doc__)
        return 0 if {"--list", "--help"} & {*words} else 2
    lines = ALL if names == ["all"] else names
    if unknown := [name for name in names if name not in {"all", *first_lines()}]:
        sys.exit(f"there is no benchmark {unknown[0]}; `python -m tests.bench --list` lists them")
    if len(lines) == 1:
        return run(names[0], options)
    return max([start(line, options) for line in lines])


def first_lines() -> dict[str, str]:
    """Return what each benchmark says of itself first, by name."""
    texts = {path.stem: path.read_text() for path in sorted(HERE.glob("*.py"))}
    documents = {name: ast.get_docstring(ast.parse(text)) for name, text in texts.items() if "\nBENCHMARK = " in text}
    return {name: (document or "").splitlines()[0] for name, document in documents.items()}


def start(line: str, options: list[str]) -> int:
    """Run one of several benchmarks; return 1 where it fails."""
    print(f"== {line}", flush=True)
    return int(subprocess.run([sys.executable, str(HERE), *line.split(), *options], check=False).returncode != 0)


def run(name: str, words: list[str]) -> int:
    """Run a benchmark and write its record after each row; return 1 where it shows a fault of autotune."""
    module = importlib.import_module(name)
    benchmark: Benchmark = module.BENCHMARK
    arguments = parse(name, module.__doc__ or "", benchmark, words)
    compile_packages()
    load = os.getloadavg()
    if load[0] > QUIET * (os.cpu_count() or 1):
        print(f"the machine is not quiet (load {load[0]:.1f}); its times will not be those of a quiet one", flush=True)
    common = {
        "schema": "autotune.benchmark/1",
        "what": benchmark.what,
        "command": shlex.join(["python", "-m", "tests.bench", name, *words]),
        "load_before": load,
    }
    record = {}
    for fields in grow(benchmark, arguments):
        record = complete(common, fields)
        if arguments.output:
            arguments.output.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    return int(benchmark.fails(record))


def compile_packages() -> None:
    """Write the byte code of autotune and its plugins, as pip does where it installs them.

    Otherwise, with PYTHONDONTWRITEBYTECODE, each process would compile them again, and nothing else that it imports.
    """
    for package in ("autotune", "autotune_plugins"):
        compileall.compile_dir(next(iter(importlib.import_module(package).__path__)), quiet=1)


def parse(name: str, document: str, benchmark: Benchmark, words: list[str]) -> argparse.Namespace:
    """Return the options; besides them `cases` that were chosen, and the `earlier` record in the place of the new."""
    parser = argparse.ArgumentParser(
        prog=f"python -m tests.bench {name}",
        description=document,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the record here; NAME.json in a folder")
    if benchmark.cases:
        help_ = f"only cases whose name contains this, may be repeated: {'; '.join(benchmark.cases)}"
        parser.add_argument("--case", action="append", metavar="TEXT", help=help_.replace("%", "%%"))
    if benchmark.repeats:
        parser.add_argument("--repeats", type=int, default=benchmark.repeats, metavar="N", help="default: %(default)s")
    for option, told in benchmark.options.items():
        parser.add_argument(option, **told)
    arguments = parser.parse_args(words)
    if benchmark.cases:
        arguments.cases = [case for case in benchmark.cases if any(text in case for text in arguments.case or [""])]
        if not arguments.cases:
            parser.error("no case has this in its name")
    if arguments.output and arguments.output.is_dir():
        arguments.output /= f"{name}.json"
    known = arguments.output and arguments.output.exists()
    arguments.earlier = json.loads(arguments.output.read_text()) if known else {}
    return arguments


def grow(benchmark: Benchmark, arguments: argparse.Namespace):
    """Yield the record's own fields as often as there is something new."""
    found = benchmark.measure(arguments)
    if not benchmark.rows:
        show(found)
        yield found
        return
    earlier = arguments.earlier.get(benchmark.rows, []) if benchmark.key else []
    rows = {key_of(row, benchmark): row for row in earlier}
    for row in found:
        rows[key_of(row, benchmark) or len(rows)] = row
        show(row)
        every = list(rows.values())
        yield {**benchmark.summary(every), benchmark.rows: every}


def key_of(row: dict, benchmark: Benchmark) -> tuple:
    """Return what tells a row from others."""
    return tuple(row[name] for name in benchmark.key)


def show(fields: dict) -> None:
    """Print a row or record without what is long in it."""
    print(json.dumps(brief(fields), ensure_ascii=False), flush=True)


def brief(value: object) -> object:
    """Return a value without the long lists within it; None for one of these."""
    if len(json.dumps(value)) <= LONG:
        return value
    inner = {name: brief(each) for name, each in value.items()} if isinstance(value, dict) else {}
    return {name: each for name, each in inner.items() if each is not None} or None


def complete(common: dict, fields: dict) -> dict:
    """Return a record: what all have, and the fields of this one."""
    from autotune.base.versions import library_versions
    from autotune.machine import detection

    general = {
        **common,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": dataclasses.asdict(detection.detect()),
    }
    return {**general, **fields, "versions": {**library_versions(), **fields.get("versions", {})}}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
