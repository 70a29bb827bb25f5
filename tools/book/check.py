#!/usr/bin/env python3
"""Runs the shell and Python of the book, and compares what it prints.

    tools/book/check.py             # all chapters
    tools/book/check.py outputs     # those whose path has this in it

Chapters come from docs/book/src/SUMMARY.md, with the guides that they include. Every `sh` block is
run in an empty folder of its chapter, with the debug build of `entk` in the path, and every
`python` block after those before it, where torch is installed (ENTK_PYTHON names the interpreter).
A block is left out only where the comment before it says why: `<!-- not run: REASON -->`. After
`<!-- printed -->` a `text` block is what the block before it prints, after `<!-- from FILE -->` a
`json` block is a part of that file; numbers may differ by a thousandth, and `...` is any text.

Called by .ci/run. Rust is tested by cargo (docs/book/lib.rs, examples/src/lib.rs).
"""

import gzip
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import npy

SOURCE = ROOT / "docs/book/src"
TORCH = ROOT / "crates/entk/tests/golden/torch"
IMAGES = ROOT / "crates/entk-data/data"
INCLUDE = re.compile(r"^\{\{#include (.+)\}\}$", re.M)
NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")
TOLERANCE = 1e-3
# What chapters call `model` and `x`, and what their first Python line expects to be there.
PYTHON_START = """
import torch
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(36, 8), torch.nn.GELU(),
                            torch.nn.Linear(8, 3))
x = torch.randn(4, 1, 6, 6)
"""


def expand(path):
    return INCLUDE.sub(lambda found: expand(path.parent / found[1]), path.read_text())


def chapters():
    links = re.findall(r"\]\(([^)]+\.md)\)", (SOURCE / "SUMMARY.md").read_text())
    return [(link, expand(SOURCE / link)) for link in links]


def blocks(text):
    """(language, comment before it, code) of every fenced block."""
    comment, lines, found = "", iter(text.splitlines()), []
    for line in lines:
        if line.startswith("```"):
            code = []
            for inner in lines:
                if inner.startswith("```"):
                    break
                code.append(inner)
            found.append((line[3:].split(",")[0], comment, "\n".join(code) + "\n"))
            comment = ""
        elif line.strip():
            comment = line.strip()
    return found


def images(count):
    """Images of the embedded slice, standardised, and their labels."""
    pixels = gzip.open(IMAGES / "t10k-images-idx3-ubyte.gz").read()[16 : 16 + count * 784]
    labels = gzip.open(IMAGES / "t10k-labels-idx1-ubyte.gz").read()[8 : 8 + count]
    return [(pixel / 255 - 0.286) / 0.353 for pixel in pixels], list(labels)


def furnish(folder, chapter):
    """The files that a chapter supposes its reader to have."""
    if "pytorch" in chapter:
        shutil.copy(TORCH / "mlp.pt2", folder / "model.pt2")
        shutil.copy(TORCH / "mlp.safetensors", folder / "verify.safetensors")
        npy.write(folder / "x.npy", [4, 1, 6, 6], "<f4", images(1)[0][:144])
        return
    count = 200
    pixels, labels = images(count)
    npy.write(folder / "x.npy", [count, 1, 28, 28], "<f4", pixels)
    npy.write(folder / "y.npy", [count], "<i8", labels)


def close(expected, found):
    if expected == found:
        return True
    try:
        expected, found = float(expected), float(found)
    except (TypeError, ValueError):
        return False
    return abs(expected - found) <= TOLERANCE * max(abs(expected), abs(found))


def alike(expected, found):
    """Whether texts are the same but for the last digits of numbers and what `...` stands for."""
    pattern, numbers = [], []
    for part in re.split(rf"({NUMBER.pattern}|\.\.\.|\s+)", expected.strip()):
        if part == "...":
            pattern.append(r"[\s\S]*?")
        elif NUMBER.fullmatch(part):
            numbers.append(part)
            pattern.append(rf"({NUMBER.pattern})")
        else:
            pattern.append(r"\s+" if part.isspace() else re.escape(part))
    match = re.fullmatch("".join(pattern), found.strip())
    return bool(match) and all(map(close, numbers, match.groups()))


def holds(expected, found):
    """Whether a JSON value has the parts of another."""
    if isinstance(expected, dict):
        return isinstance(found, dict) and all(holds(v, found.get(k)) for k, v in expected.items())
    if isinstance(expected, list):
        return isinstance(found, list) and len(expected) <= len(found) and all(
            map(holds, expected, found)
        )
    return close(expected, found)


def python_with_torch():
    python = os.environ.get("ENTK_PYTHON", "python3")
    try:
        test = "import numpy, safetensors, torch"
        return python if subprocess.run([python, "-c", test], capture_output=True).returncode == 0 \
            else None
    except OSError:
        return None


class Chapter:
    """A folder in which the blocks of one chapter run, one after the other."""

    def __init__(self, name, folder, python, environment):
        self.name, self.folder, self.python, self.environment = name, folder, python, environment
        self.written, self.printed, self.counts = PYTHON_START, "", {}
        furnish(folder, name)

    def count(self, what):
        self.counts[what] = self.counts.get(what, 0) + 1

    def block(self, language, comment, code):
        reason = re.fullmatch(r"<!-- not run: (.+) -->", comment)
        source = re.fullmatch(r"<!-- from (\S+) -->", comment)
        if reason and language in ("sh", "python"):
            self.count(f"{language} not run")
        elif language == "sh":
            self.run("sh", code, ["bash", "-euo", "pipefail", "-c", code])
        elif language == "python":
            self.written += code
            if self.python:
                self.run("python", code, [self.python, "-c", self.written])
            else:
                self.count("python SKIPPED")
        elif comment == "<!-- printed -->":
            self.ensure(alike(code, self.printed), f"printed\n{self.printed}\nin place of\n{code}")
            self.count("outputs")
        elif source:
            found = json.loads((self.folder / source[1]).read_text())
            self.ensure(holds(json.loads(code), found), f"{source[1]} does not have\n{code}")
            self.count("outputs")

    def run(self, language, code, command):
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=600,
        )  # fmt: skip
        self.printed = done.stdout
        failed = f"ended with {done.returncode}:\n{code}{done.stdout}{done.stderr}"
        self.ensure(done.returncode == 0, failed)
        self.count(language)

    def ensure(self, good, what):
        if not good:
            sys.exit(f"FAILED: {self.name}: {what}")


def build():
    """The folder of the built `entk`."""
    # An example beside it: without one, dependencies would have other features than in tests.
    what = ["--workspace", "--bin", "entk", "--example", "fig10"]
    built = ["cargo", "build", "--quiet", "--locked", *what]
    subprocess.run(built, cwd=ROOT, check=True)
    return pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug"


def main():
    environment = {**os.environ, "PATH": f"{build()}:{os.environ['PATH']}"}
    environment.pop("ENTK_DATA", None)
    python = python_with_torch()
    if python is None:
        print("SKIPPED: Python blocks: no torch, numpy and safetensors (ENTK_PYTHON)")
    for name, text in chapters():
        if not all(wanted in name for wanted in sys.argv[1:]):
            continue
        with tempfile.TemporaryDirectory() as folder:
            chapter = Chapter(name, pathlib.Path(folder), python, environment)
            for block in blocks(text):
                chapter.block(*block)
            counts = ", ".join(f"{count} {what}" for what, count in chapter.counts.items())
            print(f"{name}: {counts or 'nothing to run'}", flush=True)


if __name__ == "__main__":
    main()
