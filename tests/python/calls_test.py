"""Contexts, threads, forks, results: what a program that calls the package relies on."""
import os
import threading
import time

import numpy as np
import pytest
from conftest import DEVICE, host, put

import duet


def test_context_is_closed_once(rng):
    x = rng.standard_normal((4, 3), dtype=np.float32)
    with duet.Context(DEVICE, threads=1) as context:
        assert context.threads == 1 and "closed" not in repr(context)
        assert np.array_equal(host(duet.distance(put(x), put(x), context=context)), host(duet.distance(put(x), put(x))))
    context.close()
    assert "closed" in repr(context)
    with pytest.raises(ValueError, match="context: it is closed"):
        duet.distance(put(x), put(x), context=context)


@pytest.mark.skipif(DEVICE != "cpu", reason="threads of the CPU")
def test_results_do_not_depend_on_the_number_of_threads(rng):
    x, y = rng.standard_normal((2, 301, 37), dtype=np.float32)
    alone = duet.contrastive(x, y, context=duet.Context(threads=1))
    many = duet.contrastive(x, y, context=duet.Context(threads=3))
    assert np.array_equal(alone.row_loss, many.row_loss)
    assert all(np.array_equal(p, q) for p, q in zip(alone.gradients()[:3], many.gradients()[:3]))


def test_threads_share_a_context(rng):
    x = rng.standard_normal((40, 8), dtype=np.float32)
    inputs = [(put(x[: 20 + k]), put(x[k:])) for k in range(8)]
    expected = [host(duet.distance(*each)) for each in inputs]
    seen = []

    def work(k):
        for _ in range(20):
            seen.append(np.array_equal(host(duet.distance(*inputs[k])), expected[k]))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 8 * 20 and all(seen)


@pytest.mark.skipif(DEVICE != "cpu", reason="the GIL is given up on either; timed on the CPU")
def test_a_call_gives_up_the_interpreter(rng):
    """Another thread runs Python while a call of some tenths of a second computes: its longest pause is far shorter."""
    x = rng.standard_normal((6000, 64), dtype=np.float32)
    labels = rng.integers(0, 10, 6000)
    times, stop, context = [], threading.Event(), duet.Context(threads=1)

    def note():
        while not stop.is_set():
            times.append(time.perf_counter())
            time.sleep(1e-3)

    thread = threading.Thread(target=note)
    thread.start()
    begin = time.perf_counter()
    duet.retrieval(x, x, labels, labels, context=context)
    end = time.perf_counter()
    stop.set()
    thread.join()
    within = [begin, *[each for each in times if begin < each < end], end]
    assert max(np.diff(within)) < 0.5 * (end - begin)


@pytest.mark.skipif(DEVICE == "cpu", reason="of arrays on a device and the host's")
def test_arrays_on_two_devices_are_refused(rng):
    x = rng.standard_normal((4, 3), dtype=np.float32)
    with pytest.raises(ValueError, match="^inputs: expected arrays on one device"):
        duet.distance(put(x), x)
    with pytest.raises(ValueError, match="^row_weight: expected an array on cuda:0, as the others"):
        duet.contrastive(put(x), put(x)).gradients(row_weight=np.ones(4, np.float32))


def test_a_default_context_that_was_closed_is_made_anew(rng):
    x = put(rng.standard_normal((4, 3), dtype=np.float32))
    expected = host(duet.distance(x, x))
    if DEVICE == "cpu":  # arrays on a device go with their context
        duet.default_context(DEVICE).close()
    assert np.array_equal(host(duet.distance(x, x)), expected)


@pytest.mark.skipif(DEVICE != "cpu", reason="a device does not survive a fork")
def test_fork(rng):
    x = rng.standard_normal((200, 16), dtype=np.float32)
    expected = duet.distance(x, x)
    child = os.fork()
    if child == 0:
        same = np.array_equal(duet.distance(x, x), expected)
        os._exit(0 if same else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert np.array_equal(duet.distance(x, x), expected)


def test_gradients_are_those_of_the_loss(rng):
    """Central differences of terms.loss, in steps that float32 holds. circle is left out: the weights of its pairs are
    constants of its gradient (docs/METHOD.md 5.7)."""
    a, v = (duet.unit_rows(each) for each in rng.standard_normal((2, 6, 5), dtype=np.float32))
    for kind in ("infonce", "sigmoid", "decoupled", "ntxent"):
        more = {"bias": -1.0} if kind == "sigmoid" else {}
        gradient = host(duet.contrastive(put(a), put(v), kind, temperature=0.5, **more).gradients().grad_a)
        for i, k in ((0, 0), (3, 2), (5, 4)):
            losses = []
            for step in (2**-7, -(2**-7)):
                moved = a.copy()
                moved[i, k] += step
                losses.append(duet.contrastive(put(moved), put(v), kind, temperature=0.5, **more).loss)
            numeric = (losses[0] - losses[1]) / 2**-6
            # The step's square and float32's rounding of the losses, over the step.
            assert abs(numeric - gradient[i, k]) <= 3e-3 * max(1, np.abs(gradient).max()), kind


def test_evaluate_takes_names_and_columns(rng):
    a, v = rng.standard_normal((2, 30, 6), dtype=np.float32)
    numbers = rng.integers(-1, 3, 30)
    names = np.array(["", "cat", "dog", "eel"])[numbers + 1]
    assert duet.evaluate(put(a), put(v), numbers) == duet.evaluate(put(a), put(v), names)
    assert duet.evaluate(put(a), put(v), numbers[:, None]) == duet.evaluate(put(a), put(v), numbers)
    mean = duet.evaluate(put(a), put(v), numbers)["mean"]
    assert 0 < mean.map < 1 and mean.queries == 2 * (numbers >= 0).sum()


def test_evaluate_of_rows_with_several_labels(rng):
    """By the definition, in float64, of 40 classes: relevant is what shares one; a row without any counts nowhere."""
    a, v = rng.standard_normal((2, 25, 6), dtype=np.float32)
    sets = rng.random((25, 40)) < 0.05
    unit = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in (a.astype(float), v.astype(float))]
    relevant = (sets.astype(int) @ sets.T.astype(int)) > 0
    precisions = []
    for i in range(25):
        order = np.argsort(-(unit[0][i] @ unit[1].T), kind="stable")
        hits = relevant[i][order]
        if hits.any():
            precisions.append((np.cumsum(hits) / np.arange(1, 26))[hits].mean())
    found = duet.evaluate(put(a), put(v), sets)["a_to_v"]
    assert found.queries == len(precisions) and 0 < len(precisions) < 25
    assert abs(found.map - np.mean(precisions)) <= 1e-5
    single = rng.integers(0, 4, 25)
    assert duet.evaluate(put(a), put(v), np.eye(4, dtype=int)[single]) == duet.evaluate(put(a), put(v), single)


def test_search_in_itself(rng):
    a = rng.standard_normal((30, 6), dtype=np.float32)
    found = host(duet.top_k(put(a), put(a), 3).indices)
    assert np.array_equal(found[:, 0], np.arange(30))
    assert np.array_equal(host(duet.top_k(put(a), put(a), 2, exclude_own=True).indices), found[:, 1:])
    past = duet.top_k(put(a[:2]), put(a[:2]), 3)
    assert np.array_equal(host(past.indices)[:, 2], [-1, -1]) and np.isnan(host(past.scores)[:, 2]).all()
