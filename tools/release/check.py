#!/usr/bin/env python3
"""Everything of a release up to the upload; says what it checks, and fails at the first fault.

    tools/release/check.py            # all of it; some twenty minutes on two cores
    tools/release/check.py --quick    # manifests and contents of packages, nothing is built
    tools/release/check.py --final    # as without, and the placeholder of the address is refused

A dry run of `cargo publish` checks neither keywords nor categories nor whether what is packed
passes its own tests. Packages are unpacked into an empty folder and tested there, and a new crate,
tools/release/newcomer.rs, is built from them alone and run.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[2]
NEWCOMER = pathlib.Path(__file__).with_name("newcomer.rs")
FILES = ["Cargo.toml", "Cargo.lock", "README.md", "LICENSE-MIT", "LICENSE-APACHE"]
# Of those that exist, what fits crates of this family.
CATEGORIES = {
    "algorithms", "concurrency", "data-structures", "development-tools::testing", "encoding",
    "filesystem", "hardware-support", "mathematics", "memory-management", "parser-implementations",
    "science", "simulation",
}  # fmt: skip
KEYWORD = re.compile(r"[A-Za-z][A-Za-z0-9_+-]{0,19}")
PLACEHOLDER = "example.org"
# The registry takes 10 MiB; the embedded images are 3.4 MiB of entk-data.
MOST_BYTES = {"entk-data": 4 << 20}
MOST_BYTES_ELSE = 512 << 10
# What a text may not name: a file outside of its package.
OUTSIDE = re.compile(r"include_(?:str|bytes)!\(\s*\"((?:\.\./)+[^\"]*)\"")

# A module in a file of its own, with the attributes before it, of which one may say which file.
MODULE = re.compile(r"^((?:#\[.*\]\n)*)(?:pub(?:\([a-z ]+\))? )?mod (\w+);", re.MULTILINE)
# A crate of this family by its path; not `entk` itself, which messages name.
CRATE = re.compile(r"\b(entk(?:_[a-z]+)+)::")


def step(text):
    print(f"\n== {text}", flush=True)


def refuse(text):
    sys.exit(f"FAILED: {text}")


def run(*command, cwd=ROOT, **variables):
    print("$", *command, flush=True)
    done = subprocess.run(command, cwd=cwd, env={**os.environ, **variables})
    if done.returncode != 0:
        refuse(f"{command[0]} ended with {done.returncode}")


def read(*command, cwd=ROOT):
    return subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True).stdout


def published():
    """Packages that are not `publish = false`, by name."""
    metadata = read("cargo", "metadata", "--no-deps", "--locked", "--format-version", "1")
    packages = json.loads(metadata)["packages"]
    return {p["name"]: p for p in packages if p["publish"] != []}


def check_manifest(name, package, final):
    for key in ["description", "license", "repository", "documentation", "readme", "rust_version"]:
        if not package[key]:
            refuse(f"{name}: no {key}")
    keywords, categories = package["keywords"], package["categories"]
    if not 1 <= len(keywords) <= 5 or not all(map(KEYWORD.fullmatch, keywords)):
        refuse(f"{name}: keywords {keywords}: 1 to 5 of at most 20 characters, a letter first")
    if not 1 <= len(categories) <= 5 or not set(categories) <= CATEGORIES:
        refuse(f"{name}: categories {categories}: 1 to 5 of {sorted(CATEGORIES)}")
    if final and PLACEHOLDER in package["repository"]:
        refuse(f"{name}: the address {package['repository']} in Cargo.toml is the placeholder")


def check_licences():
    """Every dependency of any feature may be used under a licence that deny.toml allows."""
    allowed = set(tomllib.loads((ROOT / "deny.toml").read_text())["licenses"]["allow"])
    metadata = read("cargo", "metadata", "--locked", "--all-features", "--format-version", "1")
    packages = json.loads(metadata)["packages"]
    for package in packages:
        for part in (package["license"] or "").replace("(", "").replace(")", "").split(" AND "):
            choices = {choice.strip() for choice in re.split(r" OR |/", part)}
            if not choices & allowed:
                refuse(f"{package['name']}: licence {package['license']} is not in deny.toml")


def check_archive(name, version, path):
    """Names, sizes and references of what is packed."""
    root = f"{name}-{version}/"
    with tarfile.open(path) as archive:
        members = archive.getmembers()
        names = {m.name.removeprefix(root) for m in members}
        manifest = tomllib.loads(archive.extractfile(root + "Cargo.toml").read().decode())
        for member in members:
            inside = member.name.startswith(root) and ".." not in member.name.split("/")
            if not inside or not member.isfile():
                refuse(f"{name}: {member.name} is no plain file of the package")
            if member.name.endswith(".rs"):
                text = archive.extractfile(member).read().decode()
                check_references(name, member.name.removeprefix(root), text, names)
                check_modules(name, member.name.removeprefix(root), text, names)
                check_crates(name, member.name.removeprefix(root), text, manifest)
    if missing := [file for file in FILES if file not in names]:
        refuse(f"{name}: {missing} are not in the package")
    check_dependencies(name, manifest)
    size, most = path.stat().st_size, MOST_BYTES.get(name, MOST_BYTES_ELSE)
    if size > most:
        refuse(f"{name}: {size} bytes packed, at most {most} are expected")
    print(f"{name:16} {len(names):4} files {size / 1024:7.0f} KiB")


def check_references(name, file, text, names):
    for path in OUTSIDE.findall(text):
        target = os.path.normpath(os.path.join(os.path.dirname(file), path))
        if target not in names:
            refuse(f"{name}: {file} includes {path}, which is not in the package")


def check_modules(name, file, text, names):
    """A pattern of `exclude` may take more than it means."""
    folder, own = os.path.split(file)
    if own not in ("lib.rs", "main.rs", "mod.rs"):
        folder = file.removesuffix(".rs")
    for attributes, module in MODULE.findall(text):
        files = {f"{folder}/{module}.rs", f"{folder}/{module}/mod.rs"}
        if "#[path" not in attributes and not files & names:
            refuse(f"{name}: {file} has a module {module}, which is not in the package")


def check_crates(name, file, text, manifest):
    """Cargo leaves dependencies of tests out of a package that have no version: its tests, which
    are packed, would not compile."""
    known = {name}
    for table in ["dependencies", "dev-dependencies"]:
        known |= set(manifest.get(table, {}))
    for crate in CRATE.findall(text):
        if crate.replace("_", "-") not in known:
            refuse(f"{name}: {file} names {crate}, on which the package does not depend")


def check_dependencies(name, manifest):
    for table in ["dependencies", "dev-dependencies", "build-dependencies"]:
        for dependency, spec in manifest.get(table, {}).items():
            if isinstance(spec, dict) and ("path" in spec or "version" not in spec):
                refuse(f"{name}: {dependency} has a path or no version")


def unpack(archives, folder):
    for path in archives:
        with tarfile.open(path) as archive:
            archive.extractall(folder, filter="data")
    # All packages carry one date, by which cargo would take the build of an earlier run for theirs.
    for path in folder.rglob("*"):
        path.touch()


def folder_of(name, crates):
    return f"{name}-{crates[name]['version']}"


def patches(crates, folder):
    lines = [f'{name} = {{ path = "{folder / folder_of(name, crates)}" }}' for name in crates]
    return "[patch.crates-io]\n" + "\n".join(lines) + "\n"


def profiles():
    """The profiles of the workspace: without them numerical tests would take hours."""
    text = (ROOT / "Cargo.toml").read_text()
    return text[text.index("[profile.dev]") :]


def test_unpacked(crates, folder):
    """Unit and documentation tests of the packages, of which none sees this workspace."""
    members = ", ".join(f'"{folder_of(name, crates)}"' for name in crates)
    manifest = f'[workspace]\nresolver = "3"\nmembers = [{members}]\n'
    (folder / "Cargo.toml").write_text(manifest + patches(crates, folder) + profiles())
    shutil.copy(ROOT / "Cargo.lock", folder)
    target = os.environ.get("CARGO_TARGET_DIR", ROOT / "target")
    run("cargo", "test", "--workspace", cwd=folder, CARGO_TARGET_DIR=str(target))


def build_newcomer(crates, folder, packages):
    """A crate of a stranger, built from nothing; says how long it took and of how many crates."""
    folder.mkdir()
    (folder / "src").mkdir()
    shutil.copy(NEWCOMER, folder / "src/main.rs")
    version = crates["entk"]["version"]
    manifest = (
        '[package]\nname = "newcomer"\nedition = "2024"\n[workspace]\n'
        f'[dependencies]\nentk = "{version}"\n'
    )
    (folder / "Cargo.toml").write_text(manifest + patches(crates, packages))
    shutil.copy(ROOT / "Cargo.lock", folder)
    run("cargo", "fetch", cwd=folder)
    start = time.monotonic()
    run("cargo", "build", "--release", "--offline", cwd=folder, CARGO_TARGET_DIR="target")
    seconds = time.monotonic() - start
    tree = read("cargo", "tree", "--prefix", "none", "--edges", "normal", "--offline", cwd=folder)
    count = len({line.split(" (")[0] for line in tree.splitlines() if line})
    print(f"newcomer: built from nothing in {seconds:.0f} s, {count} crates with itself")
    run("target/release/newcomer", cwd=folder)


def check_tools():
    """What other tools say, where they are at hand."""
    tools = {
        "cargo-semver-checks": ["cargo", "semver-checks", "--workspace"],
        "cargo-deny": ["cargo", "deny", "check"],
        "typos": ["typos"],
    }
    for name, command in tools.items():
        if shutil.which(name):
            run(*command)
        else:
            print(f"SKIPPED: no {name}")


def check_versions(crates, packages):
    """The packages with the oldest compiler and the oldest dependencies that they allow."""
    oldest = crates["entk"]["rust_version"]
    toolchains = read("rustup", "toolchain", "list") if shutil.which("rustup") else ""
    if oldest in toolchains:
        run("cargo", f"+{oldest}", "check", "--workspace", cwd=packages)
    else:
        print(f"SKIPPED: no toolchain {oldest}")
    if "nightly" in toolchains:
        (packages / "Cargo.lock").unlink()
        run("cargo", "+nightly", "generate-lockfile", "-Zdirect-minimal-versions", cwd=packages)
        run("cargo", "check", "--workspace", cwd=packages)
    else:
        print("SKIPPED: no nightly cargo, which finds the lowest versions of dependencies")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="build nothing")
    parser.add_argument("--final", action="store_true", help="refuse the placeholder")
    parser.add_argument("--keep", type=pathlib.Path, help="work in this new folder and leave it")
    flags = parser.parse_args()

    step("manifests")
    crates = published()
    for name, package in crates.items():
        check_manifest(name, package, flags.final)
    check_licences()

    step("packages")
    dirty = [] if flags.final else ["--allow-dirty"]
    chosen = [flag for name in crates for flag in ("-p", name)]
    run("cargo", "package", "--locked", "--no-verify", "--quiet", *dirty, *chosen)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    archives = {n: target / "package" / f"{folder_of(n, crates)}.crate" for n in crates}
    for name, path in archives.items():
        check_archive(name, crates[name]["version"], path)

    if flags.quick:
        print("\nSKIPPED: what is built")
        return
    step("dry run")
    run("cargo", "publish", "--workspace", "--dry-run", "--locked", *dirty)

    folder = flags.keep or pathlib.Path(tempfile.mkdtemp(prefix="entk-release-"))
    folder.mkdir(exist_ok=True)
    try:
        step("tests of the unpacked packages")
        packages = folder / "packages"
        packages.mkdir()
        unpack(archives.values(), packages)
        test_unpacked(crates, packages)
        step("a new crate")
        build_newcomer(crates, folder / "newcomer", packages)
        step("oldest versions")
        check_versions(crates, packages)
    finally:
        if not flags.keep:
            shutil.rmtree(folder)

    step("tools")
    check_tools()
    print("\nREADY" if flags.final else "\nREADY, but for the address with --final")


if __name__ == "__main__":
    main()
