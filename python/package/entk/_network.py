"""Networks: by name, from an archive of PyTorch, or straight from a module."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from . import _entk
from ._arrays import dtype_name, ensure_finite, ids, reals
from ._errors import InvalidInput
from ._export import exported
from ._params import Params

# Examples of a forward pass, if the caller does not say.
_BATCH = 128


class Network:
    """A function f(theta, x) of parameters theta and inputs x (N, ...), with outputs (N, C).

    Made by :meth:`named`, :meth:`from_pt2` or :meth:`from_module`. Calling it gives its outputs;
    ``print(network)`` shows its operations, shapes and parameters.
    """

    __slots__ = ("_aliases", "_core", "_notes", "_params")

    def __init__(self, core: _entk.Network, params: Params | None = None) -> None:
        self._core = core
        self._params = params
        self._notes: tuple[str, ...] = ()
        self._aliases: dict[str, str] = {}

    @staticmethod
    def names() -> list[str]:
        """The names that :meth:`named` takes."""
        return list(_entk.Network.names())

    @classmethod
    def named(
        cls,
        name: str,
        input_shape: Sequence[int],
        outputs: int = 1,
        *,
        activation: str | None = None,
    ) -> Network:
        """A published network, one of :meth:`names`, without parameters.

        ``input_shape`` is that of one example: ``(channels, height, width)``, or ``(tokens,)`` of
        gpt2, bert and llama. ``outputs`` is C. ``activation``, of mlp, lenet5, resnet18 and
        resnet34: "relu" (the default), "gelu-tanh", "gelu-erf", "silu" or "tanh".

        >>> network = entk.Network.named("lenet5", (1, 28, 28), outputs=10)
        >>> params = network.init(seed=0)
        """
        shape = _sizes(input_shape, "input_shape")
        return cls(_entk.Network.named(str(name), shape, _size(outputs, "outputs"), activation))

    @classmethod
    def from_pt2(
        cls,
        path: str | os.PathLike[str],
        *,
        dtype: Any = "float32",
        trainable: Iterable[str] | None = None,
        frozen: Iterable[str] = (),
    ) -> Network:
        """The network of an archive that ``torch.export.save`` has written, with its parameters.

        Needs no torch. ``dtype`` is that of the parameters here, whatever the module's: float32
        unless you say "float64"; one of :attr:`notes` says so where that rounds. ``trainable`` and
        ``frozen`` are patterns of names (``"layer4.*"``); by default what had ``requires_grad`` is
        trained.
        """
        return cls._of_archive(os.fspath(path), dtype, trainable, frozen)

    @classmethod
    def from_module(
        cls,
        module: Any,
        example_inputs: Any,
        *,
        dtype: Any = "float32",
        trainable: Iterable[str] | None = None,
        frozen: Iterable[str] = (),
    ) -> Network:
        """The network of a ``torch.nn.Module``, with its parameters, by way of ``torch.export`` in
        memory; no file is written. It keeps the weights of this moment: after training pass
        ``params=module.state_dict()``, nothing is exported again.

        ``example_inputs`` is a batch of two or more inputs, a tensor (N, ...) whose values do not
        matter. The module is exported in evaluation mode, as it is then set back to the mode that
        it was in; its outputs must be a vector for each example, (N, C). ``dtype``, ``trainable``
        and ``frozen`` are as of :meth:`from_pt2`. Gradients of the module's own (the ``backward``
        of a ``torch.autograd.Function``, hooks) are not exported: :attr:`notes` names those that
        are seen. Needs torch 2.9 or later.
        """
        archive, notes = exported(module, example_inputs)
        network = cls._of_archive(archive, dtype, trainable, frozen)
        network._notes += tuple(notes)
        return network

    @classmethod
    def _of_archive(
        cls,
        archive: bytes | str,
        dtype: Any,
        trainable: Iterable[str] | None,
        frozen: Iterable[str],
    ) -> Network:
        only, without = _patterns(trainable, frozen)
        core, params, notes, aliases, _ = _entk.Network.of_archive(
            archive, dtype_name(dtype), only, without
        )
        network = cls(core, Params(params))
        network._notes, network._aliases = tuple(notes), dict(aliases)
        return network

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input, without the batch."""
        return tuple(self._core.input_shape)

    @property
    def outputs(self) -> int:
        """Number of outputs, C."""
        return self._core.outputs

    @property
    def params(self) -> Params | None:
        """The parameters that came with the network; None of one that has a name."""
        return self._params

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be known of how a module was exported and read, a sentence each."""
        return self._notes

    @property
    def aliases(self) -> dict[str, str]:
        """Names of tied parameters, each with the name that stands for both."""
        return dict(self._aliases)

    @property
    def parameters(self) -> list[tuple[str, tuple[int, ...], str]]:
        """(name, shape, kind) of every tensor; the kind is "trained", "frozen" or "statistic"."""
        return [(name, tuple(shape), kind) for name, shape, kind in self._core.specs()]

    def with_trainable(
        self, trainable: Iterable[str] | None = None, frozen: Iterable[str] = ()
    ) -> Network:
        """This network with other parameters trained, by patterns of names such as ``"fc3.*"``."""
        only, without = _patterns(trainable, frozen)
        core = self._core.trained(only, without)
        params = self._params and Params(core.params(_arrays_of(dict(self._params))))
        network = Network(core, params)
        network._notes, network._aliases = self._notes, dict(self._aliases)
        return network

    def init(self, seed: int = 0, dtype: Any = "float32") -> Params:
        """Parameters at the initial law; each tensor is a function of ``seed`` and its name."""
        return Params(self._core.init(_size(seed, "seed"), dtype_name(dtype)))

    def params_from(self, state_dict: Mapping[str, Any], dtype: Any = None) -> Params:
        """Parameters from a state dict: arrays or tensors by name, all of this network's, in any
        order. They are copied. ``num_batches_tracked`` is ignored."""
        return Params(self._core.params(_arrays_of(state_dict, dtype)))

    def load_params(self, path: str | os.PathLike[str], dtype: Any = "float32") -> Params:
        """Parameters from a safetensors file, or a state dict that torch has saved (``.pt``)."""
        return Params(self._core.load(os.fspath(path), dtype_name(dtype)))

    def __call__(self, x: Any, params: Params | None = None, *, batch: int = _BATCH) -> np.ndarray:
        """f(theta, x) of inputs x (N, ...), as (N, C) in float64, ``batch`` examples at a time."""
        params = self._chosen(params, None)
        return self._core.forward(params._core, self._inputs(x, params), _size(batch, "batch"))

    def __str__(self) -> str:
        return str(self._core)

    def __repr__(self) -> str:
        return f"Network(input_shape={self.input_shape}, outputs={self.outputs})"

    def _chosen(self, params: Params | Mapping[str, Any] | None, dtype: Any) -> Params:
        """The parameters to compute with, in the type to compute in."""
        if params is None:
            params = self._params
        if params is None:
            raise InvalidInput(
                "this network has no parameters; pass params=network.init(seed=0), or those of "
                "network.params_from(state_dict)"
            )
        if not isinstance(params, Params):
            params = self.params_from(params)
        return params if dtype is None else params.astype(dtype)

    def _inputs(self, x: Any, params: Params, name: str = "x") -> np.ndarray:
        """Inputs in the type of the parameters, or numbers of tokens."""
        array = ids(x, name) if self._core.reads_ids else reals(x, name, params.dtype.name)
        if array.shape[1:] != self.input_shape or array.ndim == 0 or len(array) == 0:
            sizes = ", ".join(str(size) for size in self.input_shape)
            raise InvalidInput(
                f"{name} has shape {array.shape}; expected (N, {sizes}) with N at least 1"
            )
        ensure_finite(array, name)
        return array


def _arrays_of(state_dict: Mapping[str, Any], dtype: Any = None) -> dict[str, np.ndarray]:
    """Arrays by name in one type: the given one, else float64 if any of them is, else float32."""
    kept = {
        str(name): array
        for name, array in state_dict.items()
        if not str(name).endswith("num_batches_tracked")
    }
    if dtype is None:
        found = {str(getattr(array, "dtype", "float64")) for array in kept.values()}
        dtype = "float64" if any(name.endswith("float64") for name in found) else "float32"
    return {name: reals(array, name, dtype_name(dtype)) for name, array in kept.items()}


def _patterns(
    trainable: Iterable[str] | None, frozen: Iterable[str]
) -> tuple[list[str] | None, list[str]]:
    for name, given in (("trainable", trainable), ("frozen", frozen)):
        if isinstance(given, str):
            raise InvalidInput(f"{name} is {given!r}; expected a list of patterns, [{given!r}]")
    return None if trainable is None else list(trainable), list(frozen)


def _size(value: Any, name: str) -> int:
    """A whole number from 0 that the library can count with."""
    try:
        if isinstance(value, bool | np.bool_):
            raise TypeError
        size = operator.index(value)
    except TypeError:
        raise InvalidInput(f"{name} is {value!r}; expected a whole number") from None
    if not 0 <= size < 2**63:
        raise InvalidInput(f"{name} is {size}; expected a whole number from 0, below 2^63")
    return size


def _sizes(values: Any, name: str) -> list[int]:
    try:
        return [_size(value, name) for value in values]
    except TypeError:
        raise InvalidInput(f"{name} is {values!r}; expected a tuple of whole numbers") from None
