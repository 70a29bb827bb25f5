"""What callers pass, as the arrays that the compiled half takes: rows one after the other, in one
of its types."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._errors import InvalidInput

_REAL = ("float32", "float64")


def plain(x: Any, name: str) -> np.ndarray:
    """An array of numbers; a tensor of PyTorch is brought to the CPU first."""
    if hasattr(x, "detach"):
        x = x.detach().cpu().numpy()
    try:
        array = np.asarray(x)
    except ValueError as error:
        raise InvalidInput(f"{name} is no array: {error}") from error
    if array.dtype.kind not in "fiub":
        raise InvalidInput(
            f"{name} is of dtype {array.dtype}; expected real numbers, float32 or float64"
        )
    return array


def reals(x: Any, name: str, dtype: str | None = None) -> np.ndarray:
    """Reals in row-major order: in ``dtype``, or in their own if it is one that kernels have."""
    array = plain(x, name)
    if dtype is None:
        dtype = array.dtype.name if array.dtype.name in _REAL else "float64"
    with np.errstate(over="ignore"):  # infinities are refused by name
        return np.require(array, dtype, ["C", "A"])


def ids(x: Any, name: str) -> np.ndarray:
    """Numbers of tokens."""
    array = plain(x, name)
    whole = array.dtype.kind in "iu" or bool(np.all(np.floor(array) == array))
    if not whole or array.size and (array.min() < 0 or array.max() >= 2**32):
        raise InvalidInput(f"{name} holds numbers of tokens; expected whole numbers from 0")
    return np.require(array, "uint32", ["C", "A"])


def vector(x: Any, name: str) -> np.ndarray:
    """N reals in float64."""
    array = reals(x, name, "float64")
    if array.ndim != 1:
        raise InvalidInput(f"{name} has shape {array.shape}; expected (N,)")
    return array


def columns(x: Any, name: str) -> np.ndarray:
    """(N, C) reals in float64; (N,) is one column."""
    array = reals(x, name, "float64")
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2:
        raise InvalidInput(f"{name} has shape {array.shape}; expected (N,) or (N, C)")
    return array


def targets(y: Any, outputs: int, name: str = "y") -> np.ndarray:
    """What examples are to be mapped to: uint8 labels 0 or 1, uint32 classes, float64 (N, C)."""
    array = plain(y, name)
    if array.dtype.kind == "f":
        return columns(array, name)
    if array.ndim != 1:
        raise InvalidInput(
            f"{name} has shape {array.shape}; expected (N,) for labels, "
            "or real targets (N, C) as float64"
        )
    if array.size and array.min() < 0:
        raise InvalidInput(
            f"{name} has the label {array.min()}; expected labels from 0, "
            "or signs as real targets: y.astype(float)"
        )
    if outputs > 1:
        return array.astype("uint32")
    if array.size and array.max() > 1:
        raise InvalidInput(
            f"{name} has the label {array.max()} and the network one output; expected 0 and 1, "
            "or a network with an output for each class"
        )
    return array.astype("uint8")


def dtype_name(dtype: Any) -> str:
    """The name of a type, as numpy or PyTorch calls it."""
    text = str(dtype)
    try:
        return text.removeprefix("torch.") if text.startswith("torch.") else np.dtype(dtype).name
    except TypeError as error:
        raise InvalidInput(f"dtype is {dtype!r}; expected float32 or float64") from error
