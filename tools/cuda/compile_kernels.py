#!/usr/bin/env python3
"""Compiles every kernel as a GPU would and assembles it, without one.

    tools/cuda/compile_kernels.py

NVRTC 13.0 and ptxas come from the Python package index, once, into target/cuda/compiler. Prints
registers and spilled bytes of every kernel in f32 and f64, the registers for two architectures.
Fails on an error, a warning or a spill on any of five; says SKIPPED, with the reason, where the compilers cannot be had.
"""

import ctypes
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
KERNELS = ROOT / "crates/entk-device/kernels"
FOLDER = ROOT / "target/cuda/compiler"
PACKAGES = ["nvidia-cuda-nvrtc==13.0.88", "nvidia-cuda-nvcc==13.0.88"]
# Bytes of stack that a file's kernels may use: sines and cosines of large arguments need 40.
STACK = {"entrywise": 40}
# One of each generation from Ampere on; the table shows two.
ARCHITECTURES = ["80", "89", "90", "100", "120"]
SHOWN = ["80", "90"]


def install():
    """The folder of the compilers, or None with the reason printed."""
    home = FOLDER / "nvidia/cu13"
    if (FOLDER / ".complete").exists():
        return home
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--upgrade"]
    command += ["--only-binary=:all:", "--disable-pip-version-check", "--target", str(FOLDER)]
    result = subprocess.run(command + PACKAGES, capture_output=True, text=True)
    if result.returncode != 0:
        reason = result.stderr.strip().splitlines()
        print("SKIPPED: no CUDA compiler from the package index:", reason[-1] if reason else "")
        return None
    (FOLDER / ".complete").touch()
    return home


def nvrtc(library, name, text, architecture):
    """The PTX of a source; exits with the compiler's words where it has any."""
    program = ctypes.c_void_p()
    source, file = text.encode(), f"{name}.cu".encode()
    library.nvrtcCreateProgram(ctypes.byref(program), source, file, 0, None, None)
    # Not every file uses every function of the headers.
    words = [f"--gpu-architecture=compute_{architecture}", "--diag-suppress=177"]
    options = (ctypes.c_char_p * len(words))(*(word.encode() for word in words))
    status = library.nvrtcCompileProgram(program, len(words), options)
    said = read(library.nvrtcGetProgramLogSize, library.nvrtcGetProgramLog, program)
    if status != 0 or said.strip():
        sys.exit(f"{name}, compute_{architecture}: {said}")
    return read(library.nvrtcGetPTXSize, library.nvrtcGetPTX, program)


def read(size_of, get, program):
    size = ctypes.c_size_t()
    size_of(program, ctypes.byref(size))
    buffer = ctypes.create_string_buffer(size.value)
    get(program, buffer)
    return buffer.value.decode()


def assemble(ptxas, ptx, architecture):
    """(kernel, registers, bytes of stack, bytes spilled) of every kernel."""
    with tempfile.NamedTemporaryFile("w", suffix=".ptx") as file:
        file.write(ptx)
        file.flush()
        command = [str(ptxas), "-v", f"-arch=sm_{architecture}", "-o", "/dev/null", file.name]
        result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(result.stderr)
    pattern = (
        r"Compiling entry function '(\w+)'.*?(\d+) bytes stack frame, (\d+) bytes spill stores, "
        r"(\d+) bytes spill loads.*?Used (\d+) registers"
    )
    for name, stack, stores, loads, registers in re.findall(pattern, result.stderr, re.DOTALL):
        yield name, int(registers), int(stack), int(stores) + int(loads)


def measure(home):
    """Rows (file, kernel) with a cell for each of f32 and f64 on each architecture."""
    # NVRTC opens its second library by name, which finds one that is loaded.
    ctypes.CDLL(str(home / "lib/libnvrtc-builtins.so.13.0"))
    library = ctypes.CDLL(str(home / "lib/libnvrtc.so.13"))
    library.nvrtcCompileProgram.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p]
    common = [(KERNELS / name).read_text() for name in ("prelude.h", "activation.h")]
    rows = {}
    for path in sorted(KERNELS.glob("*.cu")):
        for double in (0, 1):
            text = "\n".join([f"#define DOUBLE {double}", *common, path.read_text()])
            for architecture in ARCHITECTURES:
                ptx = nvrtc(library, path.stem, text, architecture)
                found = list(assemble(home / "bin/ptxas", ptx, architecture))
                named = set(re.findall(r"^KERNEL\((\w+)\)", path.read_text(), re.MULTILINE))
                if named != {name for name, *_ in found}:
                    sys.exit(f"{path.name}: {named} in the source, {found} assembled")
                for name, *numbers in found:
                    rows.setdefault((path.stem, name), []).append(numbers)
    return rows


def main():
    home = install()
    if home is None:
        return
    rows = measure(home)
    kinds = [(t, a) for t in ("f32", "f64") for a in ARCHITECTURES]
    shown = [at for at, (_, architecture) in enumerate(kinds) if architecture in SHOWN]
    names = " | ".join(f"{kinds[at][0]} sm_{kinds[at][1]}" for at in shown)
    print(f"| file | kernel | {names} | stack, spills |")
    print("| --- | --- |" + " ---: |" * (len(shown) + 1))
    bad = []
    for (file, name), cells in rows.items():
        extra = max(stack + spills for _, stack, spills in cells)
        registers = " | ".join(str(cells[at][0]) for at in shown)
        print(f"| {file} | {name} | {registers} | {extra} |")
        if any(spills or stack > STACK.get(file, 0) for _, stack, spills in cells):
            bad.append(name)
    print(f"{len(rows)} kernels, {len(rows) * len(kinds)} versions")
    if bad:
        sys.exit(f"memory of a thread used by: {', '.join(bad)}")


if __name__ == "__main__":
    main()
