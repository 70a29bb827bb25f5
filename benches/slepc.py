#!/usr/bin/env python3
"""The peer of `entk eigen` under MPI: SLEPc's leading eigenpairs of the same dense kernel.

    OPENBLAS_NUM_THREADS=1 mpirun -n RANKS --bind-to core python3 benches/slepc.py gram.npy K

Debian: python3-slepc4py, libopenblas0-pthread, openmpi-bin; its packages live in folders named by
PETSC_DIR and SLEPC_DIR (/usr/lib/petscdir/petsc3.18/x86_64-linux-gnu-real, and slepcdir alike),
whose lib/python3/dist-packages belong into PYTHONPATH. gram.npy is (N, N) in f32 or f64; SLEPc
keeps f64, a band of rows a rank (N^2 8 / RANKS bytes). Prints the seconds of the solve without
reading, the pairs found and the largest residual as a fraction of the largest eigenvalue. Its
tolerance is that of `entk eigen` by default, 1e-10 of the largest eigenvalue.
"""

import sys
import time

import numpy as np
from petsc4py import PETSc
import slepc4py

slepc4py.init(sys.argv[:1])
from slepc4py import SLEPc  # noqa: E402, it must be told of the arguments first

TOLERANCE = 1e-10


def distributed(entries):
    """The kernel as PETSc's dense matrix, each rank with its rows."""
    n = entries.shape[0]
    matrix = PETSc.Mat().createDense([n, n], comm=PETSc.COMM_WORLD)
    matrix.setUp()
    first, last = matrix.getOwnershipRange()
    matrix.getDenseArray()[:] = entries[first:last]
    matrix.assemble()
    matrix.setOption(PETSc.Mat.Option.SYMMETRIC, True)
    return matrix


def solve(matrix, k):
    eps = SLEPc.EPS().create(comm=PETSc.COMM_WORLD)
    eps.setOperators(matrix)
    eps.setProblemType(SLEPc.EPS.ProblemType.HEP)
    eps.setWhichEigenpairs(SLEPc.EPS.Which.LARGEST_REAL)
    eps.setDimensions(k)
    eps.setTolerances(TOLERANCE)
    # As `entk`: against the largest eigenvalue, not each against its own.
    eps.setConvergenceTest(SLEPc.EPS.Conv.NORM)
    PETSc.COMM_WORLD.barrier()
    begin = time.perf_counter()
    eps.solve()
    PETSc.COMM_WORLD.barrier()
    return eps, time.perf_counter() - begin


def main(path, k):
    eps, seconds = solve(distributed(np.load(path, mmap_mode="r")), k)
    found = eps.getConverged()
    largest = eps.getEigenvalue(0).real
    absolute = SLEPc.EPS.ErrorType.ABSOLUTE
    residual = max(eps.computeError(i, absolute) for i in range(min(k, found))) / largest
    PETSc.Sys.Print(
        f"{PETSc.COMM_WORLD.size} ranks: {seconds:.1f} s, {found} pairs, "
        f"{eps.getIterationNumber()} restarts, largest residual {residual:.1e}"
    )
    if found < k:
        sys.exit(f"{found} of {k} pairs")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
