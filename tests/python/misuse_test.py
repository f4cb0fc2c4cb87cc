"""What a caller can get wrong: nothing crashes, nothing is read or written beyond an array. Under AddressSanitizer
(sanitized.sh, of the preset asan) every access is watched."""
import threading

import numpy as np
import pytest
from conftest import DEVICE

import duet

pytestmark = pytest.mark.skipif(DEVICE != "cpu", reason="memory of the host, which AddressSanitizer watches")


def rows(rng, n=6, d=5):
    return rng.standard_normal((n, d), dtype=np.float32)


@pytest.mark.parametrize("change", [
    lambda x: x.resize((3, 5), refcheck=False), lambda x: x.resize((0, 5), refcheck=False),
    lambda x: setattr(x, "shape", (5, 6)), lambda x: setattr(x, "dtype", np.float16),
    lambda x: setattr(x, "dtype", np.int32),
], ids=["smaller", "empty", "other shape", "other type", "whole numbers"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_array_that_changes_between_the_passes(rng, change):
    """The backward pass looks at the arrays anew: it refuses, or reads what they are now, within them."""
    a, v = rows(rng), rows(rng)
    terms = duet.contrastive(a, v)
    duet.contrastive(a, v).gradients()
    change(a)
    try:
        gradients = terms.gradients()
    except (ValueError, TypeError):
        return
    assert gradients.grad_a.shape == a.shape


def test_the_terms_outlive_their_arrays_and_their_context(rng):
    context = duet.Context(threads=1)
    terms = duet.contrastive(rows(rng), rows(rng), context=context)
    expected = terms.gradients().grad_a
    junk = [np.full((6, 5), np.nan, np.float32) for _ in range(50)]
    assert np.array_equal(terms.gradients().grad_a, expected) and len(junk) == 50
    context.close()
    with pytest.raises(ValueError, match="context: it is closed"):
        terms.gradients()


def test_a_context_closed_while_threads_call(rng):
    """Each call is done or is refused."""
    x, context, seen = rows(rng, 60, 8), duet.Context(threads=1), []

    def work():
        try:
            for _ in range(200):
                seen.append(duet.distance(x, x, context=context).shape == (60, 60))
        except Exception as error:
            seen.append(isinstance(error, ValueError) and "it is closed" in str(error))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    context.close()
    for thread in threads:
        thread.join()
    assert seen and all(seen)


def test_the_same_call_on_arrays_of_the_same_shape_but_another_kind(rng):
    """A kept plan is of shape, strides and type: none of these is taken for the array before it."""
    x, y = rows(rng), rows(rng)
    expected = duet.distance(x, y)
    wide = np.zeros((6, 10), np.float32)
    wide[:, ::2] = x
    odd = np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(np.float32).reshape(6, 5)
    for same in (wide[:, ::2], odd, x.astype(">f4"), x.astype(np.float64), np.asfortranarray(x), x[::-1][::-1],
                 x.copy(), x.tolist()):
        assert np.array_equal(duet.distance(same, y), expected)
        assert np.array_equal(duet.distance(x, y), expected)
    half = x.astype(np.float16)
    assert np.array_equal(duet.distance(half, y), duet.distance(half.astype(np.float32), y))


def test_broadcast_and_overlapping_rows(rng):
    x = rows(rng)
    once = np.broadcast_to(x[:1], (4, 5))
    assert np.array_equal(duet.distance(once, x), duet.distance(np.ascontiguousarray(once), x))
    sliding = np.lib.stride_tricks.sliding_window_view(x.reshape(-1), 5)
    assert np.array_equal(duet.distance(sliding, x), duet.distance(np.ascontiguousarray(sliding), x))


def test_shapes_beyond_memory_are_refused():
    """Rows that are one and the same: 2^40 of them take no memory, their distances would take 2^80."""
    many = np.broadcast_to(np.zeros((1, 1), np.float32), (2**40, 1))
    with pytest.raises((ValueError, MemoryError)):
        duet.distance(many, many)
    with pytest.raises((ValueError, MemoryError)):
        duet.top_k(np.zeros((2, 3), np.float32), np.zeros((2, 3), np.float32), 2**62)


@pytest.mark.parametrize("value", [
    np.array([[object()] * 5] * 6), np.array([["a"] * 5] * 6), np.zeros((6, 5), "M8[s]"),
    np.zeros((6, 5), [("x", "f4")]), np.zeros((6, 5), "V4"), {"x": 1}, 3.5, b"bytes", np.zeros((6, 5, 1), np.float32),
    [[1.0] * 5] * 5 + [[1.0]], range(30), np.float32(1),
], ids=["objects", "text", "times", "records", "voids", "mapping", "number", "bytes", "three dimensions", "ragged",
        "range", "scalar"])
def test_what_is_no_matrix(rng, value):
    x = rows(rng)
    for call in (lambda: duet.distance(value, x), lambda: duet.distance(x, value), lambda: duet.unit_rows(value),
                 lambda: duet.contrastive(x, value), lambda: duet.top_k(value, x)):
        with pytest.raises((ValueError, TypeError)):
            call()


@pytest.mark.parametrize("value", [[0.5] * 6, ["a"] * 6, [None] * 6, [0] * 5, [0] * 7, [2**31] * 6, [-2**40] * 6, 3,
                                   np.zeros((6, 1, 1), int), np.zeros(6, complex), np.zeros(6, np.uint64) - 1])
def test_what_is_no_labels(rng, value):
    x, good = rows(rng), np.zeros(6, np.int32)
    for call in (lambda: duet.mine_hard(x, x, value, good), lambda: duet.mine_semihard(x, x, good, value),
                 lambda: duet.triplet(x, x, good, value),
                 lambda: duet.contrastive(x, x, "ntxent", labels_a=value, labels_v=good),
                 lambda: duet.mine_hard(x, x, good, good, group_x=value, group_y=good)):
        with pytest.raises((ValueError, TypeError)):
            call()


@pytest.mark.parametrize("change", [
    {"margin": float("nan")}, {"margin": -1.0}, {"margin": "far"}, {"metric": 3}, {"metric": ["euclidean"]},
    {"metric": None}, {"exclude_own": "no"}, {"context": 3}, {"group_x": [0] * 6}, {"group_y": [0] * 6},
], ids=str)
def test_options_of_other_kinds(rng, change):
    """Twice, before and after a call of that shape has left a plan. The argument is named."""
    x, labels = rows(rng), np.zeros(6, np.int32)
    (argument,) = change
    for _ in range(2):
        with pytest.raises((ValueError, TypeError), match=r"(^|\b|inputs\.)" + argument):
            duet.mine_semihard(x, x, labels, labels, **change)
        duet.mine_semihard(x, x, labels, labels)


@pytest.mark.parametrize("call", [
    ("margin", lambda x, l: duet.triplet(x, x, l, l, margin=[0.2])),
    ("slots", lambda x, l: duet.mine_distance_weighted(x, x, l, l, slots=1.5)),
    ("slots", lambda x, l: duet.mine_distance_weighted(x, x, l, l, slots=-1)),
    ("step", lambda x, l: duet.mine_distance_weighted(x, x, l, l, step=2**64)),
    ("seed", lambda x, l: duet.mine_distance_weighted(x, x, l, l, seed=2**64 + 1)),
    ("first_row", lambda x, l: duet.contrastive(x, x, first_row=1.5)),
    ("first_row", lambda x, l: duet.contrastive(x, x, first_row=2**64)),
    ("temperature", lambda x, l: duet.contrastive(x, x, temperature=None)),
    ("bias", lambda x, l: duet.contrastive(x, x, "sigmoid", bias="a")),
    ("k", lambda x, l: duet.top_k(x, x, "a")),
    ("k", lambda x, l: duet.top_k(x, x, -1)),
    ("cutoffs", lambda x, l: duet.evaluate(x, x, l, cutoffs=["a"])),
    ("cutoffs", lambda x, l: duet.evaluate(x, x, l, cutoffs=[1.5])),
    ("cutoffs", lambda x, l: duet.evaluate(x, x, l, cutoffs=5)),
    ("labels", lambda x, l: duet.evaluate(x, x, l[:3])),
    ("query_labels", lambda x, l: duet.retrieval(x, x, None, None)),
    ("exclude_own", lambda x, l: duet.mine_hard(x, x, l, l, exclude_own="no")),
], ids=lambda each: each[0])
def test_the_argument_is_named(rng, call):
    argument, refused = call
    with pytest.raises((ValueError, TypeError), match="^" + argument + ": expected"):
        refused(rows(rng), np.zeros(6, np.int32))


def test_an_option_that_changes_is_read_anew(rng):
    """An array of one number is the same object after it has changed."""
    x, labels, margin = rows(rng), np.array([0, 0, 1, 1, 2, 2], np.int32), np.float32(0.2)
    expected = [duet.triplet(x, x, labels, labels, margin=each).loss for each in (0.2, 5.0)]

    class Margin:
        def __float__(self):
            return self.value

    given = Margin()
    for given.value, loss in zip((0.2, 5.0), expected):
        assert duet.triplet(x, x, labels, labels, margin=given).loss == loss
    assert abs(duet.triplet(x, x, labels, labels, margin=margin).loss - expected[0]) <= 1e-6


def test_cutoffs_may_come_one_by_one(rng):
    x, labels = rows(rng), np.array([0, 0, 1, 1, 2, 2])
    assert set(duet.evaluate(x, x, labels, cutoffs=(k for k in (1, 5)))["mean"].recall) == {1, 5}


def test_a_mapped_file_is_not_copied(rng, tmp_path):
    from duet._arrays import borrow_matrix

    np.save(tmp_path / "x.npy", rows(rng))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert borrow_matrix(mapped, "x").address == mapped.__array_interface__["data"][0]


class Lying:
    """A capsule or an interface that is not what it says."""

    def __init__(self, **what):
        self.__dict__.update(what)


@pytest.mark.parametrize("value", [
    lambda x: Lying(__dlpack__=lambda **_: None), lambda x: Lying(__dlpack__=lambda **_: 3),
    lambda x: Lying(__dlpack__=3),
    lambda x: Lying(__cuda_array_interface__={"shape": (6, 5), "typestr": "<f4", "data": (0, False), "version": 3}),
    lambda x: Lying(__cuda_array_interface__={"shape": (6, 5), "typestr": "<c8", "data": (0, False), "version": 3}),
], ids=["None", "number", "no call", "device memory", "complex device memory"])
def test_arrays_that_lie(rng, value):
    x = rows(rng)
    with pytest.raises((ValueError, TypeError, duet.DuetError)):
        duet.distance(value(x), x)


def test_a_capsule_that_was_taken_is_refused(rng):
    x = rows(rng)
    capsule = x.__dlpack__(max_version=(1, 0))
    np.from_dlpack(Lying(__dlpack__=lambda **_: capsule, __dlpack_device__=lambda: (1, 0)))
    with pytest.raises(TypeError, match="^x: expected a DLPack capsule that nobody has taken, got b'used_dltensor"):
        duet.distance(Lying(__dlpack__=lambda **_: capsule), x)


def test_results_are_new_arrays(rng):
    """Nobody's memory but their own."""
    a, v = rows(rng), rows(rng)
    first = [duet.distance(a, v), duet.contrastive(a, v).row_loss, duet.contrastive(a, v).gradients().grad_a]
    kept = [each.copy() for each in first]
    for _ in range(3):
        for each in (duet.distance(v, a), duet.contrastive(v, a).row_loss, duet.contrastive(v, a).gradients().grad_a):
            each.fill(np.nan)
    assert all(np.array_equal(p, q) for p, q in zip(first, kept))
    assert all(each.flags.owndata and each.flags.writeable for each in first)
