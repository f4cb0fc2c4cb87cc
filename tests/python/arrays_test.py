"""What arrays are taken: types, layouts, other libraries' memory; and what is refused, by the argument's name."""
import ctypes

import numpy as np
import pytest
from conftest import DEVICE

import duet

pytestmark = pytest.mark.skipif(DEVICE != "cpu", reason="arrays of the host")


def pairs(rng, n=5, m=6, d=7):
    return rng.standard_normal((n, d), dtype=np.float32), rng.standard_normal((m, d), dtype=np.float32)


@pytest.mark.parametrize("layout", [
    lambda x: np.asfortranarray(x), lambda x: x[:, ::-1].copy()[:, ::-1], lambda x: x[::-1].copy()[::-1],
    lambda x: np.repeat(x, 2, axis=0)[::2], lambda x: np.repeat(x, 2, axis=1)[:, ::2], lambda x: x.astype(np.float64),
    lambda x: x.astype(">f4"), lambda x: x.tolist(), lambda x: np.concatenate([x, x], axis=1)[:, :7],
], ids=["fortran", "negative columns", "negative rows", "every second row", "every second column", "float64",
        "big endian", "lists", "part of wider rows"])
def test_layouts_give_the_same_bits(rng, layout):
    x, y = pairs(rng)
    assert np.array_equal(duet.distance(layout(x), layout(y)), duet.distance(x, y))


def test_contiguous_float32_is_not_copied(rng):
    from duet._arrays import borrow_matrix, borrow_numbers, borrow_vector

    x = rng.standard_normal((5, 7), dtype=np.float32)
    assert borrow_matrix(x, "x").address == x.ctypes.data
    part = np.concatenate([x, x], axis=1)[:, :7]
    assert (borrow_matrix(part, "x").address, borrow_matrix(part, "x").layout[2]) == (part.ctypes.data, 14)
    labels, trust = np.zeros(5, np.int32), np.zeros(5, np.float32)
    assert borrow_numbers(labels, "labels").address == labels.ctypes.data
    assert borrow_vector(trust, "trust").address == trust.ctypes.data


def test_halves_are_the_float32_of_the_same_value(rng):
    x, y = (each.astype(np.float16) for each in pairs(rng))
    assert np.array_equal(duet.distance(x, y), duet.distance(x.astype(np.float32), y.astype(np.float32)))


@pytest.mark.parametrize("shapes", [(0, 3), (3, 0), (0, 0)])
def test_empty(shapes):
    x, y = np.zeros((shapes[0], 4), np.float32), np.zeros((shapes[1], 4), np.float32)
    assert duet.distance(x, y).shape == shapes
    assert duet.top_k(x, y, 2).indices.shape == (shapes[0], 2)
    terms = duet.contrastive(x, y)
    assert terms.loss == 0 and terms.gradients().grad_a.shape == x.shape
    assert duet.mine_hard(x, y, np.zeros(shapes[0], int), np.zeros(shapes[1], int)).positive_index.shape == (shapes[0],)
    assert np.isnan(duet.evaluate(x, y, np.zeros(shapes[0], int), np.zeros(shapes[1], int))["mean"].map)


def test_no_columns():
    x = np.zeros((3, 0), np.float32)
    assert np.array_equal(duet.distance(x, x), np.zeros((3, 3)))


class Capsuled:
    """NumPy's array behind DLPack alone, as an array of a library without NumPy is; versioned or as before 1.0."""

    def __init__(self, array, versioned):
        self.array, self.versioned, self.asked = array, versioned, 0

    def __dlpack__(self, **options):
        self.asked += 1
        if not self.versioned:
            if "max_version" in options:
                raise TypeError("__dlpack__() got an unexpected keyword argument 'max_version'")
            return self.array.__dlpack__()
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


@pytest.mark.parametrize("versioned", [False, True])
def test_dlpack(rng, versioned):
    x, y = pairs(rng)
    given = Capsuled(x, versioned)
    assert np.array_equal(duet.distance(given, y), duet.distance(x, y))
    assert given.asked == (1 if versioned else 2)
    assert np.array_equal(duet.distance(Capsuled(x[::2], versioned), y), duet.distance(x[::2], y))
    assert np.array_equal(duet.distance(Capsuled(x.astype(np.float64), versioned), y), duet.distance(x, y))
    assert np.array_equal(duet.distance(Capsuled(x.T.copy().T, versioned), y), duet.distance(x, y))
    labels = Capsuled(np.array([0, 1, 0, 1, 0]), versioned)
    assert np.array_equal(duet.mine_hard(x, y, labels, [0, 1, 0, 1, 0, 1]).positive_index,
                          duet.mine_hard(x, y, [0, 1, 0, 1, 0], [0, 1, 0, 1, 0, 1]).positive_index)


def test_dlpack_of_a_read_only_array(rng):
    x, y = pairs(rng)
    x.flags.writeable = False
    assert np.array_equal(duet.distance(Capsuled(x, True), y), duet.distance(x, y))
    # The form from before 1.0 cannot say that it is read-only, and NumPy refuses it.
    with pytest.raises(TypeError, match="^x: Capsuled does not hand over its memory"):
        duet.distance(Capsuled(x, False), y)


def test_dlpack_memory_is_given_back(rng):
    x, y = pairs(rng)
    import sys

    before = sys.getrefcount(x)
    for versioned in (False, True):
        duet.distance(Capsuled(x, versioned), y)
    assert sys.getrefcount(x) == before


def test_bfloat16_by_dlpack(rng):
    """NumPy has no such type; the capsule of the same bits says that it is one."""
    x, y = pairs(rng)
    bits = (x.view(np.uint32) >> 16).astype(np.uint16)
    capsule = bits.view(np.int16).__dlpack__(max_version=(1, 0))
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    # versioned: version 8, manager 8, deleter 8, flags 8, then data 8, device 8, dimensions 4 and the type's code.
    (ctypes.c_uint8).from_address(pointer(capsule, b"dltensor_versioned") + 32 + 20).value = 4

    class Half:
        def __dlpack__(self, **_):
            return capsule

    exact = (bits.astype(np.uint32) << 16).view(np.float32)
    assert np.array_equal(duet.distance(Half(), y), duet.distance(exact, y))


@pytest.mark.parametrize("call, error, text", [
    (lambda x: duet.distance(x, x[:, :3]), ValueError, r"inputs\.y: expected any x 7, got 5 x 3"),
    (lambda x: duet.distance(x[0], x), ValueError, "^x: expected 2 dimensions"),
    (lambda x: duet.distance(x, x, "manhattan"), ValueError, "^metric: expected one of inner, .*got 'manhattan'"),
    (lambda x: duet.distance(x.astype(complex), x), TypeError, "^x: expected real numbers, got complex128"),
    (lambda x: duet.distance("x", x), ValueError, "^x: expected 2 dimensions"),
    (lambda x: duet.distance(None, x), ValueError, "^x: expected 2 dimensions"),
    (lambda x: duet.distance([[1, 2], [3]], x), TypeError, "^x: expected an array, got list"),
    (lambda x: duet.mine_hard(x, x, [0.5] * 5, [0] * 5), TypeError, "^labels_x: expected whole numbers, got float64"),
    (lambda x: duet.mine_hard(x, x, [0] * 5, [2**40] * 5), ValueError, "^labels_y: expected numbers of 32 bits"),
    (lambda x: duet.mine_hard(x, x, [0] * 4, [0] * 5), ValueError, r"inputs\.labels_x: expected 5 elements, got 4"),
    (lambda x: duet.mine_hard(x, x, [0] * 5, [0] * 5, metric="inner"), ValueError, "^metric: 'inner' is no distance"),
    (lambda x: duet.mine_semihard(x, x, [0] * 5, [0] * 5, margin=-1), ValueError, "margin"),
    (lambda x: duet.contrastive(x, x, "clip"), ValueError, "^kind: expected one of infonce, .*got 'clip'"),
    (lambda x: duet.contrastive(x, x, temperature=0), ValueError, "^temperature: expected a number above 0, got 0"),
    (lambda x: duet.contrastive(x, x, temperature=float("nan")), ValueError, "^temperature: expected"),
    (lambda x: duet.contrastive(x, x, bias=1), ValueError, "^bias: expected 0 with kind 'infonce'"),
    (lambda x: duet.contrastive(x, x, labels_a=[0] * 5, labels_v=[0] * 5), ValueError, "labels"),
    (lambda x: duet.contrastive(x, x).gradients(row_weight=[1, 2]), ValueError, r"row_weight: expected 5"),
    (lambda x: duet.triplet(x, x, mining="easy"), ValueError, "^mining: expected one of all, "),
    (lambda x: duet.top_k(x, x, -1), ValueError, "^k: expected a whole number of 0 or more, got -1"),
    (lambda x: duet.evaluate(x, x, [1, 2]), ValueError, "^labels: expected a label for each of the 5 rows of a"),
    (lambda x: duet.evaluate(x, x, [0] * 5, ["a"] * 5), TypeError, "^labels_v: expected labels of one kind"),
    (lambda x: duet.evaluate(x, x, [[0, 2]] * 5), ValueError, "^labels: expected 0 and 1 in rows of several labels"),
    (lambda x: duet.evaluate(x, x, [[0, 1]] * 5, [0] * 5), ValueError, "^labels_v: expected rows of several labels on"),
    (lambda x: duet.evaluate(x, x, [[0, 1]] * 5, [[0, 1, 0]] * 5), ValueError,
     r"^labels_v: expected rows of \(2,\) cl"),
    (lambda x: duet.evaluate(x, x, [[[0]]] * 5), ValueError, "^labels: expected a label a row"),
    (lambda x: duet.Context("tpu"), ValueError, "^device: expected 'cpu', 'cuda' or 'cuda:N', got 'tpu'"),
    (lambda x: duet.Context(threads=-1), ValueError, r"options\.threads: expected 0 to 1024, got -1"),
    (lambda x: duet.Context(precision="fp8"), ValueError, "^precision: expected one of"),
])
def test_refused(rng, call, error, text):
    with pytest.raises(error, match=text):
        call(rng.standard_normal((5, 7), dtype=np.float32))


def test_no_such_device_or_backend(rng):
    with pytest.raises((duet.Unsupported, duet.DuetError), match="CUDA"):
        duet.Context("cuda:7")


def test_nan_stays_nan(rng):
    x, y = pairs(rng)
    x[2, 3] = np.nan
    assert np.array_equal(np.isnan(duet.distance(x, y)).all(axis=1), [False, False, True, False, False])
