"""Rows with several labels, n x C of 0 and 1, in all that goes by labels: against the definition in float64
(docs/METHOD.md 2 and 6.12), and against labels of one class a row. The rows' classes known, or not, of pair losses."""
import numpy as np
import pytest
from conftest import DEVICE, host, put

import duet

N, M, D, C = 13, 17, 6, 40  # past one word of 32 classes


def unit(rng, *shape):
    rows = rng.standard_normal(shape)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def sides(rng):
    """Two sides and their classes; rows without any among them."""
    sets = [(rng.random((n, C)) < 0.04).astype(np.int64) for n in (N, M)]
    assert all((each.sum(axis=1) == 0).any() and (each.sum(axis=1) > 1).any() for each in sets)
    return unit(rng, N, D), unit(rng, M, D), *sets


def relations(sx, sy):
    """Which pairs share a class, and which are labelled and share none."""
    share = sx @ sy.T > 0
    labelled = (sx.sum(axis=1) > 0)[:, None] & (sy.sum(axis=1) > 0)[None]
    return share, labelled & ~share


def distances(x, y):
    return np.linalg.norm(x.astype(float)[:, None] - y.astype(float)[None], axis=2)


def test_mine_hard(sides):
    x, y, sx, sy = sides
    share, other = relations(sx, sy)
    d = distances(x, y)
    found = duet.mine_hard(put(x), put(y), sx, sy)
    farthest = np.where(share.any(axis=1), np.where(share, d, -np.inf).argmax(axis=1), -1)
    nearest = np.where(other.any(axis=1), np.where(other, d, np.inf).argmin(axis=1), -1)
    assert np.array_equal(host(found.positive_index), farthest) and (farthest == -1).any()
    assert np.array_equal(host(found.negative_index), nearest)


def test_mine_semihard(sides):
    x, y, sx, sy = sides
    share, other = relations(sx, sy)
    d = distances(x, y)
    found = host(duet.mine_semihard(put(x), put(y), sx, sy, margin=0.3).triplets)
    assert np.array_equal(found[:, :2], np.argwhere(share))
    for i, p, n in found:
        between = other[i] & (d[i] > d[i, p]) & (d[i] < d[i, p] + 0.3)
        assert n == (np.where(between, d[i], np.inf).argmin() if between.any() else -1)


def test_mine_distance_weighted(sides):
    x, y, sx, sy = sides
    _, other = relations(sx, sy)
    drawn = host(duet.mine_distance_weighted(put(x), put(y), sx, sy, slots=4, seed=3).negatives)
    anchors, _ = np.nonzero(drawn >= 0)
    assert len(anchors) and other[anchors, drawn[drawn >= 0]].all()


@pytest.mark.parametrize("mining", ["all", "hard"])
def test_triplet(sides, mining):
    x, y, sx, sy = sides
    share, other = relations(sx, sy)
    d = distances(x, y) ** 2
    loss = duet.triplet(put(x), put(y), sx, sy, mining=mining, margin=0.2)
    rows = []
    for i in range(N):
        near, far = d[i][share[i]], d[i][other[i]]
        if mining == "hard":
            near, far = near[near.argmax():][:1] if near.size else near, far[far.argmin():][:1] if far.size else far
        rows.append(np.maximum(near[:, None] - far[None] + 0.2, 0).sum())
    assert np.abs(host(loss.row_loss) - rows).max() <= 1e-4 * max(rows)  # float32 sums of squared distances
    assert loss.loss > 0 and host(loss.grad_x).shape == x.shape and host(loss.grad_y).shape == y.shape


def test_multi_positive(sides):
    """Equal shares of a row's positives, its own pair among them, against the softmax over these and its negatives."""
    x, y, sx, sy = sides
    positive, negative = relations(sx, sy)
    own = np.arange(N)
    positive[own, own], negative[own, own] = True, False
    scores = x.astype(float) @ y.astype(float).T / 0.1
    total = np.log(np.where(positive | negative, np.exp(scores), 0).sum(axis=1))
    expected = total - (scores * positive).sum(axis=1) / positive.sum(axis=1)
    terms = duet.contrastive(put(x), put(y), "multi_positive", labels_a=sx, labels_v=sy)
    assert np.abs(host(terms.row_loss) - expected).max() <= 1e-4
    assert np.abs(host(terms.gradients().grad_a)).max() > 0


def calls(x, y, labels_x, labels_y):
    """What goes by labels, as arrays."""
    out = [*duet.mine_hard(x, y, labels_x, labels_y), *duet.mine_semihard(x, y, labels_x, labels_y),
           *duet.mine_distance_weighted(x, y, labels_x, labels_y)]
    for mining in ("all", "hard", "semihard", "distance_weighted"):
        loss = duet.triplet(x, y, labels_x, labels_y, mining=mining, metric="euclidean")
        out += [loss.row_loss, loss.row_active, loss.grad_x, loss.grad_y]
    for kind in ("multi_positive", "decoupled", "circle", "ntxent"):
        terms = duet.contrastive(x, y, kind, labels_a=labels_x, labels_v=labels_y)
        out += [terms.row_loss, terms.column_loss, *terms.gradients()[:3]]
    return [host(each) for each in out]


@pytest.mark.parametrize("kind", [np.bool_, np.float32, np.uint8])
def test_one_class_a_row_is_a_label(rng, kind):
    """The same bits, whatever the type of the 0 and 1; a row of zeros is unlabelled."""
    x, y = put(unit(rng, 11, 5)), put(unit(rng, 11, 5))
    labels = [rng.integers(-1, 3, 11).astype(np.int32) for _ in range(2)]
    rows = [np.concatenate([np.eye(3), np.zeros((1, 3))])[each].astype(kind) for each in labels]
    for ours, expected in zip(calls(x, y, *rows), calls(x, y, *(put(each) for each in labels))):
        assert np.array_equal(ours, expected, equal_nan=ours.dtype.kind == "f")


def test_lists_columns_and_device_arrays(rng):
    x = put(unit(rng, 4, 3))
    sets = [[1, 0], [1, 1], [0, 1], [0, 0]]
    expected = [host(each) for each in duet.mine_hard(x, x, np.array(sets), np.array(sets))]
    assert all(np.array_equal(host(p), q, equal_nan=True) for p, q in zip(duet.mine_hard(x, x, sets, sets), expected))
    there = put(np.array(sets, np.int32))
    assert all(np.array_equal(host(p), q, equal_nan=True) for p, q in zip(duet.mine_hard(x, x, there, there), expected))
    if DEVICE == "cpu":  # labels, a number a row, lie where x lies
        column = np.array([[0], [0], [1], [1]])
        assert np.array_equal(duet.mine_hard(x, x, column, column).negative_index,
                              duet.mine_hard(x, x, column[:, 0], column[:, 0]).negative_index)


def test_annotated_rows(sides):
    """W is 1 where both rows are annotated and share a class, 0 where both are and share none, else q.q."""
    x, y, sx, sy = sides
    q = [(each + 1e-9) / (each + 1e-9).sum(axis=1, keepdims=True) for each in (sx, sy)]
    q = [np.where(each > 1e-6, each, 0).astype(np.float32) for each in q]
    known = [(each.sum(axis=1) > 0).astype(np.float32) for each in (sx, sy)]
    both = known[0][:, None] * known[1][None] > 0
    w = np.where(both, (sx @ sy.T > 0).astype(float), q[0].astype(float) @ q[1].astype(float).T)
    d = distances(x, y) ** 2
    loss = duet.triplet(put(x), put(y), class_x=put(q[0]), class_y=put(q[1]), annotated_x=put(known[0]),
                        annotated_y=put(known[1]), margin=0.2)
    hinge = np.maximum(d[:, :, None] - d[:, None, :] + 0.2, 0)
    rows = (w[:, :, None] * (1 - w)[:, None, :] * hinge).sum(axis=(1, 2))
    assert np.abs(host(loss.row_loss) - rows).max() <= 1e-4 * rows.max()
    without = duet.triplet(put(x), put(y), class_x=put(q[0]), class_y=put(q[1]), margin=0.2)
    assert not np.allclose(host(without.row_loss), rows, rtol=1e-3)
    common = dict(class_a=put(q[0]), class_v=put(q[1]), trust_a=put(known[0]), trust_v=put(known[1]), paired=False,
                  kappa_a=put(np.ones(N, np.float32)), kappa_v=put(np.ones(M, np.float32)))
    terms = [duet.distillation(put(x), put(y), put(x), put(y), **common, **more)
             for more in ({}, dict(annotated_a=put(known[0]), annotated_v=put(known[1])))]
    target = w * known[0][:, None] * known[1][None]
    has = target.sum(axis=1) > 0
    share = target / np.where(has, target.sum(axis=1), 1)[:, None]
    scores = x.astype(float) @ y.astype(float).T / 0.1
    logs = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    kl = (share * (np.log(np.where(share > 0, share, 1)) - logs)).sum(axis=1)
    assert np.abs(host(terms[1].row_loss) - kl)[has].max() <= 1e-4
    assert np.abs(host(terms[0].row_loss) - kl)[has].max() > 1e-3


@pytest.mark.parametrize("call, error, text", [
    (lambda x, s: duet.mine_hard(x, x, s, [0] * 4), ValueError, "^labels_y: expected rows of several labels on both"),
    (lambda x, s: duet.mine_hard(x, x, s, s[:, :2]), ValueError, r"^labels_y: expected rows of \(3,\) classes, as in"),
    (lambda x, s: duet.mine_semihard(x, x, 2 * s, s), ValueError, "^labels_x: expected 0 and 1 in rows of several"),
    (lambda x, s: duet.mine_hard(x, x, s[:3], s), ValueError, r"inputs\.labels_x: expected 4 elements, got 3"),
    (lambda x, s: duet.mine_hard(x, x, s[None], s), ValueError, "^labels_x: expected"),
    (lambda x, s: duet.triplet(x, x, s, None), ValueError, "labels"),
    (lambda x, s: duet.contrastive(x, x, labels_a=s, labels_v=s), ValueError, "labels"),
    (lambda x, s: duet.contrastive(x, x, "multi_positive", labels_a=s, labels_v=s * np.nan), ValueError,
     "^labels_v: expected 0 and 1"),
    (lambda x, s: duet.distillation(x, x, x, x, annotated_a=[1] * 4, annotated_v=[1] * 4), ValueError, "annotated"),
    (lambda x, s: duet.triplet(x, x, [0] * 4, [0] * 4, annotated_x=[1] * 4, annotated_y=[1] * 4), ValueError,
     "annotated"),
])
def test_refused(rng, call, error, text):
    if DEVICE != "cpu":
        pytest.skip("arrays of the host")
    with pytest.raises(error, match=text):
        call(unit(rng, 4, 3), np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1], [0, 0, 0]]))
