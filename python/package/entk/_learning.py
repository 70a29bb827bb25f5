"""Training of linearizations, and predictions from kernels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import _entk
from ._arrays import columns, targets, vector
from ._entk import CrossGram, Gram
from ._errors import InvalidInput
from ._kernels import _cross, _gram, _network
from ._network import _BATCH, Network, _size
from ._params import Params
from ._progress import Progress, observer


@dataclass(frozen=True)
class History:
    """What was measured after each of E epochs: arrays (E,), NaN where nothing was."""

    epoch: np.ndarray
    """Epochs done, from 1."""
    train_loss: np.ndarray
    train_accuracy: np.ndarray
    train_rmse: np.ndarray
    test_loss: np.ndarray
    test_accuracy: np.ndarray
    test_rmse: np.ndarray
    minibatch_loss: np.ndarray
    """Of the epoch's last minibatch, before its step."""
    distance: np.ndarray
    """||theta - theta_0||."""
    learning_rate: np.ndarray
    outcome: str
    """"completed", or "converged" where ``stop_at_loss`` was reached."""

    def __len__(self) -> int:
        return len(self.epoch)


class Fit:
    """A trained linearization: its parameters and its history."""

    __slots__ = ("history", "network", "params", "start")

    def __init__(self, network: Network, start: Params, params: Params, history: History) -> None:
        self.network = network
        self.start = start
        """theta_0, around which the network is linearized."""
        self.params = params
        """theta after training."""
        self.history = history

    def __call__(self, x: Any, *, batch: int = _BATCH) -> np.ndarray:
        """The outputs of the linearization, ``f(theta_0, x) + J(theta_0, x) (theta - theta_0)``, as
        (N, C) in float64."""
        return _entk.linearized_outputs(
            self.network._core,
            self.start._core,
            self.params._core,
            self.network._inputs(x, self.start),
            _size(batch, "batch"),
        )

    def __repr__(self) -> str:
        return f"Fit({len(self.history)} epochs, {self.history.outcome})"


def fit_linearized(
    network: Network,
    x: Any,
    y: Any,
    params: Params | Mapping[str, Any] | None = None,
    *,
    test: tuple[Any, Any] | None = None,
    epochs: int = 100,
    learning_rate: float = 0.05,
    momentum: float = 0.9,
    batch: int = 128,
    schedule: str = "linear",
    loss: str | None = None,
    seed: int = 0,
    eval_every: int = 1,
    stop_at_loss: float | None = None,
    dtype: Any = None,
    progress: Progress = True,
) -> Fit:
    """Trains the linearization of a network around its parameters, by SGD with momentum.

    ``x`` is (N, ...). ``y`` holds labels 0 and 1 (N,) for a network of one output, classes from 0
    (N,) for one of C, or real targets (N, C) or (N,) as floating-point numbers. ``test`` is such a
    pair. ``loss`` is "logistic", "softmax" or "squared", by default that of the targets;
    ``schedule`` is "linear", "constant", "cosine" or "one-cycle". The defaults are the paper's.
    ``progress`` is of epochs, else as for :func:`gram`.

    Raises :class:`InvalidInput`, and :class:`ComputationError` where the training diverges: lower
    the learning rate. Ctrl-C stops it after the epoch.
    """
    start = _network(network)._chosen(params, dtype)

    def examples(x: Any, y: Any, of: str) -> tuple[np.ndarray, np.ndarray]:
        name = f"{of}x", f"{of}y"
        return network._inputs(x, start, name[0]), targets(y, network.outputs, name[1])

    settings = {
        "epochs": _size(epochs, "epochs"),
        "learning_rate": float(learning_rate),
        "momentum": float(momentum),
        "batch": _size(batch, "batch"),
        "schedule": str(schedule),
        "loss": loss,
        "seed": _size(seed, "seed"),
        "eval_every": _size(eval_every, "eval_every"),
        "stop_at_loss": stop_at_loss,
    }
    with observer(progress, "fit_linearized") as watch:
        trained, found = _entk.fit_linearized(
            network._core,
            start._core,
            examples(x, y, ""),
            None if test is None else examples(*test, "test "),
            settings,
            watch,
        )
    return Fit(network, start, Params(trained), History(**found))


@dataclass(frozen=True)
class Prediction:
    """Outputs at M new inputs."""

    outputs: np.ndarray
    """(M, C)."""
    coefficients: np.ndarray
    """(N, C): ``outputs = f_0 + cross @ coefficients``."""
    residuals: np.ndarray | None
    """||(K + ridge) a - y|| / ||y|| of each column, (C,), measured; None with ``time``."""
    variances: np.ndarray | None
    """(M,), with ``prior``."""


def predict(
    gram: Gram | Any,
    cross: CrossGram | Any,
    y: Any,
    *,
    ridge: float = 0.0,
    time: float | None = None,
    f0: Any = None,
    f0_test: Any = None,
    prior: Any = None,
) -> Prediction:
    """What a kernel predicts at M new inputs from targets ``y`` (N, C) or (N,) on N:
    ``f_0(x) + cross (K + ridge)^-1 (y - f_0)``.

    ``gram`` (N, N) is the kernel on the training inputs, ``cross`` (M, N) that between new inputs
    and them: ``entk.cross_gram(network, x_new, x_train)``. ``f0`` (N, C) and ``f0_test`` (M, C) are
    the outputs of the network before training, zero if left out. With ``time`` the outputs are
    those at this time of gradient flow on the squared loss (1/2N) sum (f - y)^2, in place of the
    solution with ``ridge``. With ``prior`` (M,), the kernel of each new input with itself,
    ``variances`` are those of a Gaussian process with noise ``ridge``. Of outputs="full", pass
    ``y.reshape(-1)`` of (N, C), example by example, and likewise the others.

    Raises :class:`ComputationError` where K + ridge is not positive definite, or the solution's
    residual is above 1e-10.
    """
    if time is not None and (ridge or prior is not None):
        raise InvalidInput("time goes with neither ridge nor prior; leave them out")
    kernel = _gram(gram)
    outputs, coefficients, residuals, variances = _entk.predict(
        kernel,
        _cross(cross),
        columns(y, "y"),
        float(ridge),
        None if time is None else float(time),
        kernel.n // kernel.rows_per_example,
        None if f0 is None else columns(f0, "f0"),
        None if f0_test is None else columns(f0_test, "f0_test"),
        None if prior is None else vector(prior, "prior"),
    )
    return Prediction(outputs, coefficients, residuals, variances)
