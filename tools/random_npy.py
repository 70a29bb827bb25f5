#!/usr/bin/env python3
"""A .npy file of random numbers from a fixed seed, for tests that run programs; needs no numpy.

    tools/random_npy.py FILE SIZE..                 # f32 from a normal law
    tools/random_npy.py FILE SIZE.. --classes C     # int64 from 0 to C - 1
"""
import argparse
import math
import random

import npy


def write(path, shape, classes=None):
    draw, count = random.Random(1), math.prod(shape)
    if classes is None:
        npy.write(path, shape, "<f4", [draw.gauss(0, 1) for _ in range(count)])
    else:
        npy.write(path, shape, "<i8", [draw.randrange(classes) for _ in range(count)])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("file")
    parser.add_argument("shape", type=int, nargs="+", metavar="SIZE")
    parser.add_argument("--classes", type=int)
    flags = parser.parse_args()
    write(flags.file, flags.shape, flags.classes)
