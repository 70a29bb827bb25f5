#!/usr/bin/env python3
"""Programs in company and under random kills.

    tools/soak.py together [--rounds 100]    # 2, 4 or 8 runs at once: one folder, store or cache
    tools/soak.py soak [--minutes 60]        # random commands of all programs, random kills

Every command has been run once alone, into a folder of its own; the bytes of its results are what
all others are compared with. A run in company may be refused (74), may be killed, or may end (0);
what says that it is finished must then be right, and after one more run alone nothing may differ
and nothing be left over. Exit code 1 and a line for everything else.
"""
import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import random_npy

INPUTS = "x.npy"  # stands for a file that is made for the run
FREE = ["--model", "mlp", "--inputs", INPUTS]
FIGURE = ["--model", "mlp", "--train", "120", "--test", "40", "--epochs", "3", "--batch", "20"]
# Program and flags, and whether it takes --cache.
COMMANDS = {
    "gram": (["gram", "--n", "90"], False),
    "smaller": (["gram", "--n", "60", "--model", "lenet5"], False),
    "store": (["gram", "--n", "120", "--store", "--edge", "16", "--export"], False),
    "eigen": (["eigen", *FREE, "--k", "20", "--matrix-free", "--dtype", "f64"], False),
    "stats": (["stats", *FREE, "--sample", "100", "--deflation", "16", "--steps", "4"], False),
    "train": (["train", *FIGURE], True),
    "dual": (["train", *FIGURE, "--dual"], True),
    "predict": (["predict", "--model", "mlp", "--train", "120", "--test", "40", "--gp"], True),
    "fig02": (["fig02", *FIGURE, "--indices", "1,2,10"], True),
    "fig03": (["fig03", *FIGURE, "--indices", "1,2,10"], True),
    "fig08": (["fig08", *FIGURE, "--index", "3", "--seeds", "2"], True),
    "table1": (["table1", *FIGURE, "--top", "10", "--seeds", "2"], True),
}
# Not results: times, and what the lock and the cache keep.
OTHER = {"record.json", "cache", "checkpoint", "passes", ".lock"}
REFUSED = 74


class Soak:
    def __init__(self, programs, root, seed):
        self.programs, self.root, self.random = Path(programs), Path(root), random.Random(seed)
        self.failures, self.counts = [], {}
        random_npy.write(self.root / INPUTS, (300, 1, 8, 8))
        self.expected = {name: self.alone(name) for name in COMMANDS}

    def start(self, name, out, cache=None, flags=()):
        command, has_cache = COMMANDS[name]
        command = [str(self.root / INPUTS) if word == INPUTS else word for word in command]
        words = [*self.program(command[0]), *command[1:], *flags, "--out", str(out)]
        words += ["--cache", str(cache)] if cache and has_cache else []
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        return subprocess.Popen(words, text=True, **pipes)

    def program(self, name):
        figure = self.programs / "examples" / name
        return [str(figure)] if figure.exists() else [str(self.programs / "entk"), name]

    def alone(self, name):
        out = self.root / "expected" / name
        run = self.start(name, out)
        if run.wait():
            sys.exit(f"{name}: {run.stderr.read()}")
        return hashes(out)

    def end(self, name, run, kill_after):
        """Waits or kills; counts how the run ended."""
        try:
            said = run.communicate(timeout=kill_after)[1]
        except subprocess.TimeoutExpired:
            run.kill()
            said = run.communicate()[1]
        code = run.returncode
        kind = {0: "finished", REFUSED: "refused", -signal.SIGKILL: "killed"}.get(code, "other")
        self.counts[kind] = self.counts.get(kind, 0) + 1
        if kind == "other" or "panicked" in said:
            self.fail(f"{name}: exit {code}: {said}")
        return code

    def fail(self, text):
        self.failures.append(text)
        print(f"FAILED: {text}", flush=True)

    def check_finished(self, out, names):
        """A folder with a record must hold the results of a command of the program that it names."""
        if not (out / "record.json").exists():
            return
        program, found = json.loads((out / "record.json").read_text())["program"], hashes(out)
        holds = lambda name: self.expected[name].items() <= found.items()
        if not any(holds(name) for name in names if COMMANDS[name][0][0] == program):
            self.fail(f"{out}: {program} has finished, and not as any of {names}: {sorted(found)}")

    def check_whole(self, name, out, cache=None):
        """One more run, alone, gives the right bytes."""
        if self.end(name, self.start(name, out, cache), 600) != 0:
            self.fail(f"{name}: does not finish alone in {out}")
        found, expected = hashes(out), self.expected[name]
        differ = [file for file in expected if found.get(file) != expected[file]]
        if differ:
            self.fail(f"{name}: {differ} differ in {out}")

    def check_left_over(self, folder):
        """What runs have left that none of them needs, once all have ended."""
        is_left = lambda path: path.name.startswith(".tmp-") or path.name.endswith("lock")
        left = [str(path) for path in folder.rglob("*") if is_left(path)]
        if left:
            self.fail(f"left over: {left}")

    def company(self, place):
        """Runs at once into one folder, one store or one cache."""
        count, folder = self.random.choice([2, 4, 8]), self.root / "round"
        shutil.rmtree(folder, ignore_errors=True)
        names = {"folder": ["gram", "smaller", "train", "table1"], "store": ["store"]}.get(
            place, ["train", "dual", "predict", "fig02", "fig03", "fig08", "table1"])
        runs = []
        for at in range(count):
            name = self.random.choice(names)
            out = folder / (f"{at}-{name}" if place == "cache" else "out")
            parts = place == "store" and self.random.random() < 0.7
            flags = ["--part", f"{self.random.randint(1, 3)}/3"] if parts else []
            time.sleep(self.random.random() * 0.3)
            kill_after = self.random.random() * 1.5 if self.random.random() < 0.4 else 600
            runs.append((name, out, self.start(name, out, folder / "cache", flags), kill_after))
        deadline = time.time()
        for name, out, run, kill_after in runs:
            self.end(name, run, max(0.01, deadline + kill_after - time.time()))
        outs = {out: [n for n, o, *_ in runs if o == out] for _, out, *_ in runs}
        for out, names in outs.items():
            self.check_finished(out, names)
        for out, names in outs.items():
            for name in sorted(set(names)):
                if place != "folder" or name == names[-1]:
                    clear(out)
                    self.check_whole(name, out, folder / "cache")
        self.check_left_over(folder)

    def soak(self, minutes):
        end, folder, most = time.time() + 60 * minutes, self.root / "soak", 0
        rounds = 0
        while time.time() < end and len(self.failures) < 20:
            rounds += 1
            name = self.random.choice(list(COMMANDS))
            out, cache = folder / name, folder / "cache"
            kill_after = self.random.random() * 2 if self.random.random() < 0.6 else 600
            if self.end(name, self.start(name, out, cache), kill_after) == 0:
                self.check_finished(out, [name])
            size = sum(p.stat().st_size for p in list(folder.rglob("*")) if p.is_file())
            most = max(most, size)
        for name in COMMANDS:
            self.check_whole(name, folder / name, folder / "cache")
        self.check_left_over(folder)
        print(f"{rounds} commands, at most {most / 1e6:.1f} MB on disk")


def hashes(folder):
    """The results in a folder, by name."""
    files = [path for path in Path(folder).rglob("*") if path.is_file()]
    named = {path.relative_to(folder): path for path in files}
    is_result = lambda name: not OTHER & set(name.parts) and name.parts[0] != "gram.zarr"
    digest = lambda path: hashlib.blake2b(path.read_bytes()).hexdigest()
    return {str(name): digest(path) for name, path in named.items() if is_result(name)}


def clear(folder):
    """Removes what another command has left that this one does not write."""
    for path in Path(folder).glob("*"):
        if path.is_file() and not path.name.startswith("."):
            path.unlink()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["together", "soak"])
    parser.add_argument("--programs", default="target/debug")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    flags = parser.parse_args()
    os.environ["RAYON_NUM_THREADS"] = "2"
    with tempfile.TemporaryDirectory() as root:
        soak = Soak(flags.programs, root, flags.seed)
        if flags.what == "soak":
            soak.soak(flags.minutes)
        else:
            for at in range(flags.rounds):
                soak.company(["folder", "store", "cache"][at % 3])
        print(f"{soak.counts}, {len(soak.failures)} failures")
        sys.exit(bool(soak.failures))


if __name__ == "__main__":
    main()
