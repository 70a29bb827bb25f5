#!/usr/bin/env python3
"""Mutants of the library crates, many in one build: a random sample, and which tests notice.

tools/mutants/run.py [--count 40] [--seed 1] [--work target/mutants] [--only ID ...]

Copies the workspace to WORK/tree, writes COUNT mutants of each crate into it (src/main.rs), leaves
out those that do not compile, builds all tests once, and runs, for each mutant, the tests of its
crate until one fails; a mutant that they miss goes to the crates above it. Prints one line a mutant
and the share that is caught; writes WORK/results.json, and continues it when it is there.
"""
import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

# Crates whose tests see a crate from above.
ABOVE = {
    "entk-device": ["entk-models", "entk-gram", "entk-train"],
    "entk-data": ["entk-examples"],
    "entk-models": ["entk", "entk-gram", "entk-linearize"],
    "entk-torch": ["entk"],
    "entk-linearize": ["entk", "entk-gram"],
    "entk-spectral": ["entk", "entk-predict"],
    "entk-gram": ["entk", "entk-examples"],
    "entk-predict": ["entk", "entk-examples"],
    "entk-train": ["entk", "entk-examples"],
}
TIMEOUT = 20  # times the run without a mutant, and a minute


def cargo(tree, target, *arguments, **options):
    environment = {**os.environ, "CARGO_TARGET_DIR": str(target)}
    return subprocess.run(["cargo", *arguments], cwd=tree, env=environment, text=True, **options)


def write(root, tree, count, seed, skipped):
    ignored = shutil.ignore_patterns("target", ".git", "results", "corpus")
    shutil.rmtree(tree, ignore_errors=True)
    shutil.copytree(root, tree, ignore=ignored)
    tool = root / "tools/mutants"
    out = cargo(tool, root / "target/mutants/tool", "run", "-q", "--release", "--", str(tree),
                str(seed), str(count), *map(str, sorted(skipped)), capture_output=True)
    if out.returncode:
        sys.exit(out.stderr)
    return [json.loads(line) for line in out.stdout.splitlines()]


def blamed(tree, diagnostics):
    """The mutants nearest above the lines that do not compile."""
    found = set()
    for line in diagnostics.splitlines():
        message = json.loads(line) if line.startswith("{") else {}
        message = message.get("message") or {}
        if message.get("level") != "error":
            continue
        for span in message.get("spans", []):
            lines = (tree / span["file_name"]).read_text().splitlines()
            text = "\n".join(lines[: span["line_end"]])
            ids = re.findall(r"crate::mutant\((\d+)usize\)", text)
            found.update(int(at) for at in ids[-1:])
    return found


def build(tree, target):
    """The test binaries by package, and mutants that do not compile."""
    for what in (["check", "--lib"], ["build", "--examples"], ["test", "--no-run", "--lib", "--tests"]):
        command, *rest = what
        rest.append("--no-fail-fast" if command == "test" else "--keep-going")
        out = cargo(tree, target, command, "--workspace", *rest, "--message-format", "json",
                    stdout=subprocess.PIPE)
        if out.returncode:
            return None, blamed(tree, out.stdout)
    binaries = {}
    for line in out.stdout.splitlines():
        message = json.loads(line)
        if message.get("reason") == "compiler-artifact" and message["profile"]["test"]:
            name = pathlib.Path(message["manifest_path"]).parent.name
            name = {"examples": "entk-examples"}.get(name, name)
            binary = (message["executable"], pathlib.Path(message["manifest_path"]).parent)
            if message["executable"] and message["target"]["kind"] != ["example"]:
                binaries.setdefault(name, []).append(binary)
    return binaries, set()


def run(binary, folder, mutant, limit):
    environment = {**os.environ, "MUTANT": str(mutant), "PROPTEST_CASES": "64"}
    begin = time.time()
    try:
        done = subprocess.run([binary, "-q"], cwd=folder, env=environment, timeout=limit,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    except subprocess.TimeoutExpired:
        return "timeout", limit
    name = re.search(r"^---- (\S+) stdout ----", done.stdout, re.M)
    failed = None if done.returncode == 0 else (name.group(1) if name else f"exit {done.returncode}")
    return failed, time.time() - begin


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work", type=pathlib.Path)
    parser.add_argument("--only", type=int, nargs="*")
    flags = parser.parse_args()
    root = pathlib.Path(__file__).resolve().parents[2]
    work = (flags.work or root / "target/mutants").resolve()
    tree, target, results = work / "tree", work / "target", work / "results.json"
    skipped, binaries = set(), None
    while binaries is None:
        mutants = write(root, tree, flags.count, flags.seed, skipped)
        binaries, unviable = build(tree, target)
        if binaries is None and not unviable - skipped:
            sys.exit("the mutated workspace does not compile, and no mutant is to blame")
        skipped |= unviable
        print(f"{len(mutants)} mutants, {len(skipped)} left out", flush=True)
    done = json.loads(results.read_text()) if results.exists() else {}
    base = {}
    for package, list_of in binaries.items():
        for binary, folder in list_of:
            failed, base[binary] = run(binary, folder, -1, 3600)
            print(f"{package} {pathlib.Path(binary).name}: {failed or 'passes'} {base[binary]:.0f} s",
                  flush=True)
            if failed:
                base.pop(binary)  # no witness
    for mutant in mutants:
        key = str(mutant["id"])
        if key in done or (flags.only and mutant["id"] not in flags.only):
            continue
        packages = [mutant["crate"], *ABOVE[mutant["crate"]]]
        tests = [(binary, folder, at) for at, package in enumerate(packages)
                 for binary, folder in binaries.get(package, []) if binary in base]
        tests.sort(key=lambda test: (test[2], base[test[0]]))
        mutant["caught"] = None
        for binary, folder, _ in tests:
            failed, _ = run(binary, folder, mutant["id"], 60 + TIMEOUT * base[binary])
            if failed:
                mutant["caught"] = f"{pathlib.Path(binary).name.rsplit('-', 1)[0]} {failed}"
                break
        done[key] = mutant
        results.write_text(json.dumps(done, indent=1))
        print(f"{mutant['file']}:{mutant['line']} [{key}] {mutant['what']}: "
              f"{mutant['caught'] or 'SURVIVES'}", flush=True)
    for name in sorted({mutant["crate"] for mutant in done.values()}):
        of = [mutant for mutant in done.values() if mutant["crate"] == name]
        caught = sum(mutant["caught"] is not None for mutant in of)
        print(f"{name}: {caught} of {len(of)} caught, drawn from {of[0]['of']}")


if __name__ == "__main__":
    main()
