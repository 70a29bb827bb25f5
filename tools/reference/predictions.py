#!/usr/bin/env python3
"""Float64 reference values of predictions from kernels, by the functions of neural-tangents.

    python tools/reference/predictions.py crates/entk-predict/tests/golden/predictions.json

needs neural-tangents 0.6.5 with jax 0.4.30. Every value is checked against its formula in NumPy
before it is written. neural-tangents divides the loss by examples and outputs; times here are t / C
of its own, those of entk.
"""
import json
import sys

import jax
import numpy as np

jax.config.update("jax_enable_x64", True)
import neural_tangents as nt
from neural_tangents import stax

TRAIN, TEST, OUTPUTS, INPUTS, PARAMETERS, SEED = 12, 5, 3, 4, 60, 17
TIMES, NOISE, AGREEMENT = [0.0, 0.3, 4.0, 100.0, 1e4], 0.05, 1e-9


def check(name, found, expected):
    error = np.abs(np.asarray(found) - expected).max() / max(1.0, np.abs(expected).max())
    assert error <= AGREEMENT, (name, error)
    return np.asarray(found)


def learned(theta, cross, time):
    """Theta(*, X) Theta^-1 (I - exp(-Theta t / N)) in NumPy."""
    values, vectors = np.linalg.eigh(theta)
    weights = -np.expm1(-values * time / TRAIN) / values
    return cross @ (vectors * weights) @ vectors.T


def main(path):
    rng = np.random.default_rng(SEED)
    x, x_test = rng.normal(size=(TRAIN, INPUTS)), rng.normal(size=(TEST, INPUTS))
    y = rng.normal(size=(TRAIN, OUTPUTS))
    f0, f0_test = rng.normal(size=(TRAIN, OUTPUTS)), rng.normal(size=(TEST, OUTPUTS))
    _, _, kernel = stax.serial(stax.Dense(9, b_std=0.3), stax.Relu(), stax.Dense(1, b_std=0.1))
    of = lambda a, b, name: np.asarray(kernel(a, b, name))
    out = {"train": TRAIN, "test": TEST, "outputs": OUTPUTS, "noise": NOISE, "times": TIMES}
    out |= {"targets": y, "offset": f0, "offset_test": f0_test}
    for name in ("ntk", "nngp"):
        out |= {name: of(x, x, name), f"{name}_cross": of(x_test, x, name)}
        out[f"{name}_test"] = of(x_test, x_test, name)

    # Gradient flow with K (x) I_C.
    flow = nt.predict.gradient_descent_mse(out["ntk"], y)
    for k, time in enumerate(TIMES):
        train, test = flow(OUTPUTS * time, f0, f0_test, out["ntk_cross"])
        expected = f0_test + learned(out["ntk"], out["ntk_cross"], time) @ (y - f0)
        out[f"flow_test_{k}"] = check("flow on test inputs", test, expected)
        expected = f0 + learned(out["ntk"], out["ntk"], time) @ (y - f0)
        out[f"flow_train_{k}"] = check("flow on training inputs", train, expected)

    # Gradient flow with a full kernel.
    rows = rng.normal(size=((TRAIN + TEST) * OUTPUTS, PARAMETERS)) / PARAMETERS**0.5
    full, at = rows @ rows.T, TRAIN * OUTPUTS
    out |= {"full": full[:at, :at], "full_cross": full[at:, :at]}
    axes = lambda k: k.reshape(-1, OUTPUTS, TRAIN, OUTPUTS).transpose(0, 2, 1, 3)
    flow = nt.predict.gradient_descent_mse(axes(out["full"]), y, trace_axes=())
    for k, time in enumerate(TIMES):
        _, test = flow(OUTPUTS * time, f0, f0_test, axes(out["full_cross"]))
        change = learned(out["full"], out["full_cross"], time) @ (y - f0).ravel()
        expected = f0_test + change.reshape(TEST, OUTPUTS)
        out[f"full_test_{k}"] = check("flow of a full kernel", test, expected)

    # The ensemble of trained linearized networks.
    ensemble = nt.predict.gradient_descent_mse_ensemble(kernel, x, y, diag_reg=0.0)
    for k, time in enumerate(TIMES):
        found = ensemble(OUTPUTS * time, x_test, "ntk", compute_cov=True)
        b = learned(out["ntk"], out["ntk_cross"], time)
        mixed = b @ out["nngp_cross"].T
        covariance = out["nngp_test"] + b @ out["nngp"] @ b.T - mixed - mixed.T
        out[f"ensemble_mean_{k}"] = check("mean of the ensemble", found.mean, b @ y)
        out[f"ensemble_covariance_{k}"] = check("covariance of it", found.covariance, covariance)

    # The posterior of a Gaussian process with noise.
    posterior = nt.predict.gp_inference(
        out["nngp"], y, diag_reg=NOISE, diag_reg_absolute_scale=True
    )
    k_test = out["nngp_cross"]
    found = posterior("nngp", k_test, out["nngp_test"])
    solve = lambda b: np.linalg.solve(out["nngp"] + NOISE * np.eye(TRAIN), b)
    out["posterior_mean"] = check("mean", found.mean, k_test @ solve(y))
    covariance = out["nngp_test"] - k_test @ solve(k_test.T)
    out["posterior_covariance"] = check("covariance", found.covariance, covariance)

    plain = lambda v: v.ravel().tolist() if isinstance(v, np.ndarray) else v
    with open(path, "w") as file:
        json.dump({name: plain(value) for name, value in out.items()}, file, indent=0)


main(sys.argv[1])
