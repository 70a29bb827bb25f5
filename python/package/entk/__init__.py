"""Empirical neural tangent kernels of networks, PyTorch's among them.

    network = entk.Network.from_module(module, x[:2])   # or .named(..), .from_pt2(..)
    kernel = entk.gram(network, x)                      # numpy.asarray(kernel) is (N, N)
    pairs = entk.eigsh(kernel, 20)                      # values, vectors, residuals
    entk.alignment(kernel, y)
    entk.energy_concentration(pairs, y, 20)
    fit = entk.fit_linearized(network, x, y)            # fit.history, fit(x_new)
    entk.predict(kernel, entk.cross_gram(network, x_new, x), y)

What takes long runs without the interpreter's lock, on all cores, and Ctrl-C ends it. Results are
arrays that read the library's memory; inputs are copied once. Errors are :class:`Error` and the
built-in class that fits: ValueError, MemoryError, OSError or ArithmeticError.
"""

from . import _entk, datasets
from ._entk import CrossGram, Eigenpairs, Gram
from ._errors import (
    ComputationError,
    Error,
    FileError,
    InternalError,
    InvalidInput,
    OutOfMemory,
)
from ._kernels import (
    EnergyConcentration,
    alignment,
    cross_gram,
    eigh,
    eigsh,
    energy_concentration,
    gram,
    rayleigh_alignment,
)
from ._learning import Fit, History, Prediction, fit_linearized, predict
from ._network import Network
from ._params import Params

__version__ = _entk.__version__

__all__ = [
    "ComputationError",
    "CrossGram",
    "Eigenpairs",
    "EnergyConcentration",
    "Error",
    "FileError",
    "Fit",
    "Gram",
    "History",
    "InternalError",
    "InvalidInput",
    "Network",
    "OutOfMemory",
    "Params",
    "Prediction",
    "alignment",
    "cross_gram",
    "datasets",
    "eigh",
    "eigsh",
    "energy_concentration",
    "fit_linearized",
    "gram",
    "predict",
    "rayleigh_alignment",
]
