"""Progress, and the ways to end what takes long."""

import itertools
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

import entk

# A process in the background of a script begins with SIGINT ignored.
LONG = """
import signal, entk
signal.signal(signal.SIGINT, signal.default_int_handler)
x = entk.datasets.fashion_mnist_slice().x_train
network = entk.Network.named("lenet5", (1, 28, 28), outputs=10)
seen = []
def progress(done, total):
    seen[:] = [done, total]
    if done:
        print("started", flush=True)
try:
    {call}
    print("finished")
except KeyboardInterrupt:
    print("interrupted", seen[0] < seen[1])
"""
CALLS = {
    "gram": "entk.gram(network, x[:400], network.init(), outputs='full', progress=progress)",
    "fit": "entk.fit_linearized(network, x[:500], [0] * 500, network.init(), epochs=999, "
    "progress=progress)",
}


@pytest.mark.skipif(sys.platform == "win32", reason="a process there gets no SIGINT alone")
@pytest.mark.parametrize("call", CALLS)
def test_ctrl_c_ends_it(call):
    program = [sys.executable, "-c", LONG.format(call=CALLS[call])]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "started\n"
        process.send_signal(signal.SIGINT)
        lines = process.stdout.read().splitlines()
    assert lines[-1] == "interrupted True" and process.returncode == 0


def test_ctrl_c_ends_what_cannot_be_stopped():
    """The dense solver knows no stop; the call ends, and the process with it."""
    code = """
import entk, numpy, os, signal, threading
signal.signal(signal.SIGINT, signal.default_int_handler)
x = numpy.random.default_rng(0).normal(size=(3000, 3000))
kernel = entk.Gram(x @ x.T)
threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    entk.eigh(kernel)
    print("finished")
except KeyboardInterrupt:
    print("interrupted")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "interrupted\n"


def test_progress_is_told(lenet, theta, images):
    seen = []
    entk.gram(lenet, images, theta, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1] > 0
    assert all(a[0] <= b[0] for a, b in itertools.pairwise(seen))
    seen.clear()
    entk.fit_linearized(
        lenet,
        images,
        np.zeros(20, int),
        theta,
        epochs=3,
        batch=5,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen[-1] == (3, 3)


def test_what_progress_raises_ends_the_call(lenet, theta, images):
    def stop(done, total):
        raise LookupError("enough")

    with pytest.raises(LookupError, match="enough"):
        entk.gram(lenet, images, theta, progress=stop)
    assert entk.gram(lenet, images, theta).n == 20


@pytest.mark.parametrize("progress", [True, False])
def test_short_calls_print_nothing(lenet, theta, images, capfd, monkeypatch, progress):
    monkeypatch.setattr("entk._progress._DELAY", 3600.0)
    entk.gram(lenet, images, theta, progress=progress)
    assert capfd.readouterr() == ("", "")


def test_long_calls_have_a_bar(lenet, theta, images, capfd, monkeypatch):
    pytest.importorskip("tqdm", reason="tqdm is not installed")
    monkeypatch.setattr("entk._progress._DELAY", 0.0)
    entk.gram(lenet, images, theta)
    assert "gram" in capfd.readouterr().err


def test_without_tqdm_it_is_silent(lenet, theta, images, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    assert entk.gram(lenet, images, theta, progress=True).n == 20


def test_threads_compute_side_by_side(lenet, theta, images, kernel):
    found = [None] * 4

    def compute(at):
        found[at] = entk.gram(lenet, images, theta)

    threads = [threading.Thread(target=compute, args=(at,)) for at in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(one, kernel) for one in found)
