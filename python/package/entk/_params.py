"""Parameters of a network as a mapping from names to arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from . import _entk
from ._arrays import dtype_name


class Params(Mapping[str, np.ndarray]):
    """The parameters theta of a network, with the running statistics of its batch norms.

    A mapping from names, those of the module, to arrays; ``dict(params)`` is a state dict. They do
    not change: arrays that are taken out are copies. Made by :meth:`Network.init`,
    :meth:`Network.params_from`, :meth:`Network.load_params`, and found in a network that comes
    from PyTorch (:attr:`Network.params`).
    """

    __slots__ = ("_core",)

    def __init__(self, core: _entk.Params) -> None:
        self._core = core

    def __getitem__(self, name: str) -> np.ndarray:
        array = self._core.get(name)
        if array is None:
            raise KeyError(name)
        return array

    def __iter__(self) -> Iterator[str]:
        return iter(self._core.names)

    def __len__(self) -> int:
        return len(self._core.names)

    @property
    def count(self) -> int:
        """Number of trained scalars, P."""
        return self._core.count

    @property
    def dtype(self) -> np.dtype:
        """float32 or float64."""
        return np.dtype(self._core.dtype)

    def astype(self, dtype: Any) -> Params:
        """The same numbers in float32 or float64."""
        return Params(self._core.astype(dtype_name(dtype)))

    def save(self, path: Any) -> None:
        """Writes a safetensors file, which is whole or absent."""
        self._core.save(path)

    def __repr__(self) -> str:
        return f"Params({len(self)} tensors, {self.count} trained, {self.dtype})"
