"""Put damaged files through every reader of a user's files with the coverage-guided fuzzer atheris (libFuzzer).

Each reader has a process of its own, as many at once as there are cores. Real files are damaged again and again, in
structure as well as in bytes (`tests/support/damage.py`); what reaches new lines of autotune is damaged further.
Whatever comes out but a value or an `AutotuneError` of one printable line counts as an exception, as does an input
that takes longer than five seconds; files written anywhere but in the folder given, processes and connections are
counted, too. Exits 1 where there is any. Needs `pip install atheris` (Linux, CPython).
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from random import Random

from harness import HERE, SUPPORT, Benchmark, search_path

READERS = ("workload", "journal", "study", "run", "tuning", "xyz", "many-body JSON", "keywords", "fragments", "charges")
MOST_SECONDS = 5.0
MOST_MEMORY_BYTES = 4 * 2**30
MOST_CONTENT_BYTES = 2**16
MEMORY = Path("/dev/shm")  # files of the readers lie here where it is: a commit to a disk takes a hundred times as long


def measure(arguments) -> Iterator[dict]:
    if find_spec("atheris") is None:
        sys.exit("this needs the fuzzer atheris: pip install atheris")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from pool.map(lambda name: look(name, arguments), arguments.cases)


def look(name: str, arguments) -> dict[str, object]:
    """Fuzz a reader in a process of its own and return its row of the record."""
    with tempfile.TemporaryDirectory(dir=MEMORY if os.access(MEMORY, os.W_OK) else None, prefix="autotune-fuzz-") as at:
        work = Path(at)
        for folder in ("given", "cwd", "home", "tmp", "seeds", "corpus", "kept"):
            (work / folder).mkdir()
        code = f"import fuzz; fuzz.fuzz({name!r}, {arguments.inputs}, {at!r})"
        environment = {key: value for key, value in os.environ.items() if not key.startswith("XDG_")}
        environment |= {"HOME": f"{at}/home", "TMPDIR": f"{at}/tmp", "OPENBLAS_NUM_THREADS": "1"}
        environment |= {"PYTHONPATH": search_path(HERE, SUPPORT)}
        environment |= {"PYTHONDONTWRITEBYTECODE": "1", "AUTOTUNE_HOME": f"{at}/given"}
        with (work / "log").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", code], cwd=work / "cwd", env=environment, stdout=log, stderr=log
            )
            try:
                process.wait(arguments.limit)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        log_text = (work / "log").read_text(errors="replace")
        row = {"reader": name, "inputs": 0, "exceptions": 1, "written_outside": []}
        if (work / "row.json").exists():
            row |= json.loads((work / "row.json").read_text())
        else:
            shutil.copy(work / "current", work / "kept" / "ended-by-this")
            row["kinds"] = {f"the process ended with {process.returncode}: {log_text[-2000:]}": 1}
        # libFuzzer prints a line for each input that reaches something new.
        reached = re.findall(r"cov: (\d+) ft: (\d+) corp: (\d+)", log_text)
        row["coverage_edges"], _, row["inputs_that_reached_new_code"] = map(int, reached[-1] if reached else (0, 0, 0))
        elsewhere = [path for folder in ("cwd", "home", "tmp") for path in (work / folder).rglob("*")]
        row["written_outside"] = [*row["written_outside"], *(str(path.relative_to(work)) for path in elsewhere)]
        if arguments.keep:
            shutil.copytree(work / "kept", arguments.keep / name.replace(" ", "-"), dirs_exist_ok=True)
    return row


class TooSlow(BaseException):
    """An input takes too long; not an Exception, so that no reader takes it for one of its own."""


class Watch:
    """Notes what the process does outside a folder: files, processes, connections."""

    ENDINGS = ("os.remove", "os.rename", "os.rmdir", "os.truncate", "os.chmod", "os.link", "os.symlink", "os.mkdir")
    FORBIDDEN = ("subprocess.Popen", "os.system", "os.exec", "os.fork", "os.posix_spawn", "socket.connect")
    WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder) + os.sep
        self.on = False
        self.outside: Counter[str] = Counter()

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self.on:
            return
        paths: tuple[object, ...] = ()
        if event == "open":
            paths = arguments[:1] if int(arguments[2]) & self.WRITES else ()
        elif event in self.ENDINGS:
            paths = arguments[:2]
        elif event == "sqlite3.connect":
            paths = arguments
        elif event in self.FORBIDDEN:
            self.outside[event] += 1
        for path in paths:
            if isinstance(path, (str, bytes, os.PathLike)) and os.fsdecode(path) != ":memory:":
                full = os.path.realpath(os.fsdecode(path)) + os.sep
                if not full.startswith(self._folder):
                    self.outside[f"{event} {full}"] += 1


class Target:
    """What the fuzzer calls with each input: counts what comes out, and ends the process after the last one."""

    def __init__(self, outcome: Callable[[bytes], str], inputs: int, work: Path, watch: Watch) -> None:
        self._outcome, self._inputs, self._work, self._watch = outcome, inputs, work, watch
        self._current = os.open(work / "current", os.O_RDWR | os.O_CREAT)
        self._outcomes: Counter[str] = Counter()
        self._kinds: Counter[str] = Counter()
        self._slowest_s = 0.0
        self._began = time.perf_counter()

    def __call__(self, content: bytes) -> None:
        os.pwrite(self._current, content, 0)
        os.ftruncate(self._current, len(content))
        started = time.perf_counter()
        signal.setitimer(signal.ITIMER_PROF, MOST_SECONDS)
        self._watch.on = True
        try:
            self._outcomes[self._outcome(content)] += 1
        except BaseException as error:  # noqa: BLE001 - whatever comes out is what is looked for
            self._watch.on = False
            self._outcomes["exception"] += 1
            note(error, content, self._kinds, self._work / "kept")
        self._watch.on = False
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        self._slowest_s = max(self._slowest_s, time.perf_counter() - started)
        if self._outcomes.total() == self._inputs:
            (self._work / "row.json").write_text(json.dumps(self.row()))
            os._exit(0)  # libFuzzer would go on

    def row(self) -> dict[str, object]:
        return {
            "inputs": self._outcomes.total(),
            "past_the_parser": self._outcomes["accepted"] + self._outcomes["refused"],
            "accepted": self._outcomes["accepted"],
            "exceptions": self._outcomes["exception"] + (self._slowest_s > MOST_SECONDS),
            "kinds": dict(self._kinds),
            "slowest_s": self._slowest_s,
            "seconds": time.perf_counter() - self._began,
            "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "written_outside": [*self._watch.outside],
        }


def stop(*_: object) -> None:
    raise TooSlow(f"over {MOST_SECONDS} s of processor time")


def fuzz(name: str, inputs: int, folder: str) -> None:
    """Put so many inputs through a reader, write the row of the record into the folder, and end the process."""
    import atheris

    work = Path(folder)
    with atheris.instrument_imports(include=["autotune"]):
        import damage
    reader = damage.reader(name)
    for number, seed in enumerate(reader.seeds):
        (work / "seeds" / str(number)).write_bytes(seed)
        damage.outcome(reader, seed, work / "given")  # what is loaded on first use is loaded

    def mutate(content: bytes, most: int, seed: int) -> bytes:
        random = Random(seed)
        if not content or random.random() < 0.5:  # damage adds up: a file that nothing is left of finds nothing
            content = random.choice(reader.seeds)
        if random.random() < 0.1:
            return atheris.Mutate(content, most)
        for _ in range(random.choice((1, 1, 1, 2))):
            content = reader.damaged(content, random)[:most]
        return content

    watch = Watch((work / "given").resolve())
    sys.addaudithook(watch)
    signal.signal(signal.SIGPROF, stop)
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY_BYTES, MOST_MEMORY_BYTES))
    target = Target(lambda content: damage.outcome(reader, content, work / "given"), inputs, work, watch)
    options = [f"-max_len={MOST_CONTENT_BYTES}", "-len_control=0", "-rss_limit_mb=0", "-seed=1", "-reload=0"]
    options += [f"-artifact_prefix={work}/kept/", f"-timeout={10 * MOST_SECONDS:.0f}"]
    atheris.Setup([sys.argv[0], *options, f"{work}/corpus", f"{work}/seeds"], target, custom_mutator=mutate)
    atheris.Fuzz()


def note(error: BaseException, content: bytes, kinds: Counter[str], kept: Path) -> None:
    """Count an exception by what it is and where it came from; keep the first input of each kind."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "autotune" in Path(frame.filename).parts[-2:-1]]
    where = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in (frames[-1], *ours[-1:]))
    kind = f"{type(error).__name__} at {where}"
    if isinstance(error, AssertionError):
        kind += f": {str(error)[:60]}"
    if kind not in kinds:
        file = kept / f"{type(error).__name__}-{len(kinds)}"
        file.write_bytes(content)
        file.with_suffix(".txt").write_text("".join(traceback.format_exception(error))[-4000:], errors="replace")
    kinds[kind] += 1


BENCHMARK = Benchmark(
    what="damaged files through every reader: what came out but a value or an error of one line, and how long",
    measure=measure,
    rows="readers",
    key=("reader",),
    cases=READERS,
    options={
        "--inputs": {"type": int, "default": 100_000, "help": "for each reader"},
        "--limit": {"type": float, "default": 3600.0, "help": "seconds after which a reader is given up"},
        "--keep": {"type": Path, "metavar": "FOLDER", "help": "put an input of every kind of exception here"},
    },
    summary=lambda _: {"versions": {"atheris": version("atheris")}},
    # A process that ended before its last input counts as an exception.
    fails=lambda record: any(row["exceptions"] or row["written_outside"] for row in record["readers"]),
)
