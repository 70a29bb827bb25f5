#!/usr/bin/env python3
"""Networks that people have, in PyTorch and here: exports each, computes outputs and one
Jacobian-vector product in float64, runs the example `compare` on them, and writes the table of
docs/pytorch.md. Needs torch, torchvision, timm, transformers and peft; nothing is downloaded.

    cargo build -p entk-torch --example compare
    python tools/torch/census.py --work DIR [--only NAME ..] [--others] [--again]
    python tools/torch/census.py --golden    # the small archives of crates/entk/tests/golden/torch

DIR keeps archives, values and results, so that a change here needs no new export; `--again` makes
them anew."""

import argparse
import json
import logging
import pathlib
import subprocess
import traceback
import warnings
import zlib

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)

import networks
import reference
import torch

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMPARE = ROOT / "target/debug/examples/compare"
OUTPUTS, JVP = 1e-12, 1e-10


def made(name, build, archive, kernels=False):
    """Writes an archive and its values; gives the number of trained parameters."""
    torch.manual_seed(zlib.crc32(name.encode()))
    module, x = build()
    module = reference.randomised(module)
    program = reference.exported(module, x, archive)
    known = reference.Reference(module, program, x)
    reference.write(known.values(kernels), archive.with_suffix(".safetensors"))
    return sum(p.numel() for p in known.free.values())


def compared(archive):
    """One line of the example, without the path."""
    command = [COMPARE, archive, archive.with_suffix(".safetensors")]
    run = subprocess.run(command, capture_output=True, text=True, timeout=1800)
    lines = run.stdout.strip().splitlines() or run.stderr.strip().splitlines()[-1:] or ["no answer"]
    return " ".join(lines).removeprefix(str(archive)).strip()


def census(table, work, only, again):
    work.mkdir(parents=True, exist_ok=True)
    kept = work / "results.json"
    results = json.loads(kept.read_text()) if kept.exists() else {}
    for name in sorted(table):
        if only and name not in only:
            continue
        archive = work / (name + ".pt2")
        found = results.setdefault(name, {})
        try:
            if again or "parameters" not in found:
                found["parameters"] = made(name, table[name], archive)
            found["answer"] = compared(archive)
        except Exception as error:
            traceback.print_exc(limit=-2)
            found["answer"] = f"not exported: {type(error).__name__}: {str(error)[:200]}"
        print(name, found, flush=True)
        kept.write_text(json.dumps(results, indent=1))
    return results


def errors(answer):
    """Those of outputs and product, if the network was taken."""
    words = answer.split()
    return (float(words[1]), float(words[3])) if words[:1] == ["outputs"] else None


def row(name, found):
    both = errors(found["answer"])
    if both is None:
        return f"| {name} | {found.get('parameters', '')} | {found['answer'].replace('|', '/')} | |"
    agrees = both[0] <= OUTPUTS and both[1] <= JVP
    wrong = "" if agrees else " differs"
    return f"| {name} | {found['parameters']} | {both[0]:.0e} | {both[1]:.0e}{wrong} |"


def rows(title, names, results):
    names = sorted(name for name in names if name in results)
    agree = [n for n in names if (e := errors(results[n]["answer"])) and e[0] <= OUTPUTS and e[1] <= JVP]
    head = f"{title}: {len(agree)} of {len(names)} agree.\n\n"
    head += "| network | parameters | outputs | JVP |\n| --- | ---: | ---: | ---: |\n"
    return head + "\n".join(row(name, results[name]) for name in names) + "\n"


def write_table(results):
    guide = ROOT / "docs/pytorch.md"
    before, rest = guide.read_text().split("<!-- census: begin -->")
    _, after = rest.split("<!-- census: end -->")
    table = rows("The census", networks.NETWORKS, results)
    table += "\n" + rows("Others", networks.OTHERS, results)
    guide.write_text(f"{before}<!-- census: begin -->\n{table}<!-- census: end -->{after}")


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--work", type=pathlib.Path, default=pathlib.Path("census"))
    options.add_argument("--only", nargs="*")
    options.add_argument("--others", action="store_true")
    options.add_argument("--again", action="store_true")
    options.add_argument("--golden", action="store_true")
    options = options.parse_args()
    torch.set_num_threads(2)
    if options.golden:
        for name, build in networks.SMALL.items():
            made(name, build, ROOT / f"crates/entk/tests/golden/torch/{name}.pt2", kernels=True)
        return
    table = networks.OTHERS if options.others else networks.NETWORKS
    results = census(table, options.work, options.only, options.again)
    if (ROOT / "docs/pytorch.md").exists():
        write_table(results)


if __name__ == "__main__":
    main()
