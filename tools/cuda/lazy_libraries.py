#!/usr/bin/env python3
"""Static archives in place of the CUDA libraries, whose functions open the real ones when called.

    lazy_libraries.py CUDARC_SOURCE FOLDER

A program linked with them needs no CUDA library to start, so that one binary runs with and without a
GPU. Every function that cudarc knows jumps through a table; its first call looks the name up in the
shared library and, where there is none, answers with the library's error for that. x86-64 only.
"""

import pathlib
import re
import subprocess
import sys
import tempfile

# Archive, shared library, module of cudarc, answer of a function that cannot be found.
LIBRARIES = [
    ("cuda", "libcuda.so.1", "driver", 100),  # CUDA_ERROR_NO_DEVICE
    ("cublas", "libcublas.so.13", "cublas", 1),  # CUBLAS_STATUS_NOT_INITIALIZED
    ("cublasLt", "libcublasLt.so.13", "cublaslt", 1),  # the same
    ("curand", "libcurand.so.10", "curand", 101),  # CURAND_STATUS_NOT_INITIALIZED
    ("nvrtc", "libnvrtc.so.13", "nvrtc", 11),  # NVRTC_ERROR_INTERNAL_ERROR
]

LOOK_UP = """
#include <dlfcn.h>
#define LOCAL __attribute__((visibility("hidden")))
LOCAL void *table_{library}[{count}];
static const char *const names[] = {{{names}}};
static long unavailable(void) {{ return {answer}; }}
LOCAL void *find_{library}(long at) {{
  static void *opened;
  if (!opened) opened = dlopen("{shared}", RTLD_LAZY | RTLD_GLOBAL);
  void *found = opened ? dlsym(opened, names[at]) : 0;
  return table_{library}[at] = found ? found : (void *)unavailable;
}}
"""

ENTRY = """
.globl {name}
.type {name}, @function
{name}:
  movq table_{library}+{offset}(%rip), %r11
  testq %r11, %r11
  je 1f
  jmp *%r11
1: pushq ${at}
  jmp look_up_{library}
"""

INTEGERS = ["rdi", "rsi", "rdx", "rcx", "r8", "r9"]


def resolver(library):
    """Saves every register that carries arguments around the look-up."""
    lines = [f"look_up_{library}:"]
    lines += [f"pushq %{register}" for register in INTEGERS]
    lines += ["subq $128, %rsp"]
    lines += [f"movups %xmm{at}, {16 * at}(%rsp)" for at in range(8)]
    lines += ["movq 176(%rsp), %rdi", f"call find_{library}", "movq %rax, %r11"]
    lines += [f"movups {16 * at}(%rsp), %xmm{at}" for at in range(8)]
    lines += ["addq $128, %rsp"]
    lines += [f"popq %{register}" for register in reversed(INTEGERS)]
    lines += ["addq $8, %rsp", "jmp *%r11", '.section .note.GNU-stack,"",@progbits']
    return "\n".join(lines) + "\n"


def functions(cudarc, module):
    text = (cudarc / "src" / module / "sys" / "mod.rs").read_text()
    names = set(re.findall(r"^ *pub unsafe fn ((?:cu|nvrtc)\w+)", text, re.MULTILINE))
    return sorted(name for name in names if not name.startswith("culib"))


def archive(library, shared, names, answer, folder):
    entries = [
        ENTRY.format(name=name, library=library, offset=8 * at, at=at)
        for at, name in enumerate(names)
    ]
    look_up = LOOK_UP.format(
        library=library,
        count=len(names),
        names=", ".join(f'"{name}"' for name in names),
        answer=answer,
        shared=shared,
    )
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        (scratch / "entries.s").write_text(".text\n" + "".join(entries) + resolver(library))
        (scratch / "look_up.c").write_text(look_up)
        objects = []
        for source in ("entries.s", "look_up.c"):
            objects.append(str(scratch / (source + ".o")))
            subprocess.run(
                ["cc", "-c", "-O1", "-fPIC", "-o", objects[-1], str(scratch / source)], check=True
            )
        target = folder / f"lib{library}.a"
        target.unlink(missing_ok=True)
        subprocess.run(["ar", "crs", str(target), *objects], check=True)


def main():
    cudarc, folder = map(pathlib.Path, sys.argv[1:3])
    for library, shared, module, answer in LIBRARIES:
        archive(library, shared, functions(cudarc, module), answer, folder)


if __name__ == "__main__":
    main()
