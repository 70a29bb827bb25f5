#!/usr/bin/env python3
"""Mutants of the library crates, many in one build: a random sample, and which tests notice.

tools/mutants/run.py [--count 36] [--seed 1] [--work target/mutants] [--jobs 2] [--only ID ...]
    [--packages CRATE ...]

Writes COUNT mutants of each crate into a copy of the workspace (src/main.rs), leaves out those that
do not compile, and builds all tests once. Every test runs once without a mutant, which tells its
seconds and the mutants that it reaches; then each mutant meets the tests that reach it, the fastest
first, until one fails that passes without it. Tests slower than SLOW wait until all mutants have met
the others, and those of crates without mutants come last. Prints a line a mutant and the share that
is caught. WORK/base.json and WORK/results.json are continued when they are there; `--only` looks at
those mutants again. With `--packages` only the mutants and tests of those crates are looked at.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

SLOW = 4.0  # seconds
FEATURES = "entk-data/images,entk-data/parquet"  # code that no build has by default
TIMEOUT = 20  # times the run without a mutant, and a minute
UNMUTATED = -1


def cargo(tree, target, *arguments, **options):
    environment = {**os.environ, "CARGO_TARGET_DIR": str(target)}
    return subprocess.run(["cargo", *arguments], cwd=tree, env=environment, text=True, **options)


def write(root, work, count, seed, skipped):
    """Writes the mutated tree, and touches only those of its files that differ."""
    tree, fresh = work / "tree", work / "fresh"
    ignored = shutil.ignore_patterns("target", ".git", "results")
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.copytree(root, fresh, ignore=ignored)
    out = cargo(root / "tools/mutants", work / "tool", "run", "-q", "--release", "--",
                str(fresh), str(seed), str(count), *map(str, sorted(skipped)), capture_output=True)
    if out.returncode:
        sys.exit(out.stderr)
    files = {path.relative_to(fresh) for path in fresh.rglob("*") if path.is_file()}
    for path in list(tree.rglob("*")) if tree.exists() else []:
        if path.is_file() and path.relative_to(tree) not in files:
            path.unlink()
    for path in files:
        old, new = tree / path, fresh / path
        if not old.exists() or old.read_bytes() != new.read_bytes():
            old.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(new, old)
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


def build(tree, target, packages):
    """The test binaries with their names and folders, and mutants that do not compile."""
    tests = ["test", "--no-run", "--no-fail-fast", "--lib", "--tests"]
    steps = [["check", "--keep-going", "--lib"], ["build", "--keep-going", "--examples"], tests]
    of = ["--workspace", "--exclude", "entk-house", "--exclude", "entk-benches"]
    if packages:
        steps, of = [tests], [word for package in packages for word in ("-p", package)]
    if not packages or "entk-data" in packages:
        of += ["--features", FEATURES]
    for step in steps:
        out = cargo(tree, target, *step, *of, "--message-format", "json", stdout=subprocess.PIPE)
        if out.returncode:
            return None, blamed(tree, out.stdout)
    binaries = {}
    for line in out.stdout.splitlines():
        message = json.loads(line)
        if (message.get("reason") == "compiler-artifact" and message["profile"]["test"]
                and message["executable"] and message["target"]["kind"] != ["example"]):
            folder = pathlib.Path(message["manifest_path"]).parent
            kind = "" if message["target"]["kind"] == ["test"] else "lib "
            binaries[f"{folder.name} {kind}{message['target']['name']}"] = message["executable"], folder
    return binaries, set()


def tests_of(binaries):
    """Each test by its name: binary, folder, name within the binary."""
    tests = {}
    for binary_name, (binary, folder) in binaries.items():
        out = subprocess.run([binary, "--list", "--format", "terse"], cwd=folder, text=True,
                             stdout=subprocess.PIPE, check=True).stdout
        ignored = subprocess.run([binary, "--list", "--format", "terse", "--ignored"], cwd=folder,
                                 text=True, stdout=subprocess.PIPE, check=True).stdout
        for name in sorted(set(out.splitlines()) - set(ignored.splitlines())):
            name = name.removesuffix(": test")
            tests[f"{binary_name} {name}"] = binary, folder, name
    return tests


def first_to_be_killed():
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")


def run(test, mutant, limit, **more):
    """None if it passes, else how it fails; and its seconds."""
    binary, folder, name = test
    environment = {**os.environ, "MUTANT": str(mutant), "PROPTEST_CASES": "64", **more}
    begin = time.time()
    process = subprocess.Popen([binary, name, "--exact", "-q"], cwd=folder, env=environment,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               start_new_session=True, preexec_fn=first_to_be_killed)
    try:
        code = process.wait(limit)
        failed = None if code == 0 else "fails" if code == 101 else f"exit {code}"
    except subprocess.TimeoutExpired:
        failed = "timeout"
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
    return failed, time.time() - begin


def measure(test):
    """What a test does without a mutant: None, or how it fails; seconds; mutants reached."""
    with tempfile.TemporaryDirectory() as seen:
        failed, seconds = run(test, UNMUTATED, 3600, MUTANT_SEEN=seen)
        return failed, seconds, sorted(int(name) for name in os.listdir(seen))


def meet(mutant, tests, base):
    """The first test that notices the mutant, among those that reach it."""
    reaching = [(base[name][1], name) for name in tests
                if not base[name][0] and mutant in base[name][2]]
    for seconds, name in sorted(reaching):
        limit = 60 + TIMEOUT * seconds
        failed, _ = run(tests[name], mutant, limit)
        if failed and run(tests[name], UNMUTATED, limit)[0] is None:
            return f"{name}: {failed}"
    return None


def in_parallel(jobs, items, function, done):
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        futures = {pool.submit(function, item): item for item in items}
        for future in concurrent.futures.as_completed(futures):
            done(futures[future], future.result())


def measured(path, tests, jobs):
    """What the tests do without a mutant, those measured earlier included."""
    base = json.loads(path.read_text()) if path.exists() else {}

    def keep(name, found):
        base[name] = found
        path.write_text(json.dumps(base))
        if found[0]:
            print(f"no witness: {name} {found[0]} without a mutant", flush=True)

    in_parallel(jobs, [name for name in tests if name not in base],
                lambda name: measure(tests[name]), keep)
    print(f"{len(tests)} tests, {sum(base[name][1] for name in tests):.0f} s", flush=True)
    return {name: (failed, seconds, set(seen)) for name, (failed, seconds, seen) in base.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=36)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--work", type=pathlib.Path)
    parser.add_argument("--only", type=int, nargs="*")
    parser.add_argument("--packages", nargs="*", default=[])
    flags = parser.parse_args()
    root = pathlib.Path(__file__).resolve().parents[2]
    work = (flags.work or root / "target/mutants").resolve()
    skipped, binaries = set(), None
    while binaries is None:
        mutants = write(root, work, flags.count, flags.seed, skipped)
        binaries, unviable = build(work / "tree", work / "target", flags.packages)
        if binaries is None and not unviable - skipped:
            sys.exit("the mutated workspace does not compile, and no mutant is to blame")
        skipped |= unviable
        print(f"{len(mutants)} mutants, {len(skipped)} left out", flush=True)
    mutants = [it for it in mutants if it["crate"] in (flags.packages or [it["crate"]])]
    examine(work, mutants, tests_of(binaries), flags)


def examine(work, mutants, tests, flags):
    """Each mutant against tests that reach it, in phases: fast ones first, its own crates' first."""
    results, by_id = work / "results.json", {mutant["id"]: mutant for mutant in mutants}
    done = json.loads(results.read_text()) if results.exists() else {}
    done = {at: mutant for at, mutant in done.items() if int(at) not in (flags.only or [])}
    crates = {mutant["crate"] for mutant in mutants}
    own = {name: test for name, test in tests.items() if name.split()[0] in crates}
    others = {name: test for name, test in tests.items() if name not in own}
    for phase in ("own", "own, slow", "others", "others, slow"):
        at_hand = own if phase.startswith("own") else others
        base = measured(work / "base.json", at_hand, flags.jobs)
        some = {name: test for name, test in at_hand.items()
                if (base[name][1] > SLOW) == phase.endswith("slow")}

        def keep(at, caught):
            reached = sum(at in seen for _, _, seen in base.values())
            phases = [*done.get(str(at), {}).get("phases", []), phase]
            mutant = {**by_id[at], "caught": caught, "reached": reached, "phases": phases}
            done[str(at)] = mutant
            results.write_text(json.dumps(done, indent=1))
            verdict = caught or ("SURVIVES" if len(phases) == 4 else f"survives {phase}")
            print(f"{mutant['file']}:{mutant['line']} [{at}] {mutant['what']}: {verdict} "
                  f"({reached} tests)", flush=True)

        left = [at for at in flags.only or by_id if not done.get(str(at), {}).get("caught")
                and phase not in done.get(str(at), {}).get("phases", [])]
        in_parallel(flags.jobs, left, lambda at: meet(at, some, base), keep)
    for name in sorted({mutant["crate"] for mutant in done.values()}):
        of = [mutant for mutant in done.values() if mutant["crate"] == name]
        caught = sum(mutant["caught"] is not None for mutant in of)
        print(f"{name}: {caught} of {len(of)} caught, drawn from {of[0]['of']}")


if __name__ == "__main__":
    main()
