"""Modules with pytorch-metric-learning's names beside that package's own, and duet's other losses."""
import pytest
import pytorch_metric_learning.distances as PD
import pytorch_metric_learning.losses as PL
import pytorch_metric_learning.miners as PM
import torch

import duet.torch as D

LOSSES = {
    "TripletMarginLoss": [{}, {"margin": 0.3}, {"smooth_loss": True}, {"swap": True}],
    "NTXentLoss": [{}, {"temperature": 0.5}],
    "SupConLoss": [{}, {"temperature": 0.5}],
    "CircleLoss": [{}, {"m": 0.25, "gamma": 32}],
}
DISTANCES = {"TripletMarginLoss": ["LpDistance", "CosineSimilarity"], "NTXentLoss": ["CosineSimilarity", "LpDistance"],
             "SupConLoss": ["CosineSimilarity", "LpDistance"], "CircleLoss": ["CosineSimilarity"]}
CASES = [(name, arguments, distance)
         for name, each in LOSSES.items() for arguments in each for distance in DISTANCES[name]]


def data(seed, n=24, d=12, classes=4):
    torch.manual_seed(seed)
    return (torch.randn(n, d), torch.randint(0, classes, (n,)),
            torch.randn(n + 5, d), torch.randint(0, classes + 1, (n + 5,)))


def both(name, arguments, distance, *inputs, **more):
    """Loss and gradient, ours and theirs."""
    out = []
    for losses, distances in ((D, D), (PL, PD)):
        loss = getattr(losses, name)(**arguments, distance=getattr(distances, distance)())
        x = inputs[0].clone().requires_grad_()
        value = loss(x, *inputs[1:], **more)
        value.backward()
        out.append((value.item(), x.grad))
    return out


def agree(ours, theirs):
    # Float32 on both sides, exponents of up to 80: the larger share of what differs is theirs.
    assert abs(ours[0] - theirs[0]) <= 2e-5 * max(1.0, abs(theirs[0]))
    assert (ours[1] - theirs[1]).abs().max() <= 1e-4 * theirs[1].abs().max() + 1e-7


@pytest.mark.parametrize("name, arguments, distance", CASES)
def test_loss_by_labels(name, arguments, distance):
    x, labels, _, _ = data(1)
    agree(*both(name, arguments, distance, x, labels))


@pytest.mark.parametrize("name, arguments, distance", [each for each in CASES if "swap" not in each[1]])
def test_loss_against_a_second_set(name, arguments, distance):
    x, labels, ref, ref_labels = data(2)
    agree(*both(name, arguments, distance, x, labels, ref_emb=ref, ref_labels=ref_labels))


@pytest.mark.parametrize("name, arguments, distance", CASES)
@pytest.mark.parametrize("miner", ["BatchHardMiner", "TripletMarginMiner"])
def test_loss_of_mined(name, arguments, distance, miner):
    x, labels, _, _ = data(4)
    agree(*both(name, arguments, distance, x, labels, getattr(PM, miner)()(x, labels)))


@pytest.mark.parametrize("distance", ["LpDistance", "CosineSimilarity"])
@pytest.mark.parametrize("second", [False, True])
def test_batch_hard_miner(distance, second):
    x, labels, ref, ref_labels = data(5)
    more = (ref, ref_labels) if second else ()
    ours = D.BatchHardMiner(distance=getattr(D, distance)())(x, labels, *more)
    theirs = PM.BatchHardMiner(distance=getattr(PD, distance)())(x, labels, *more)
    assert len(ours[0]) > 0 and all(torch.equal(p, q) for p, q in zip(ours, theirs))


@pytest.mark.parametrize("distance", ["LpDistance", "CosineSimilarity"])
@pytest.mark.parametrize("kind", ["all", "hard", "semihard", "easy"])
@pytest.mark.parametrize("second", [False, True])
def test_triplet_margin_miner(distance, kind, second):
    x, labels, ref, ref_labels = data(6, n=300, classes=60)  # over one block of anchors
    more = (ref, ref_labels) if second else ()
    found = []
    for miners, distances in ((D, D), (PM, PD)):
        miner = miners.TripletMarginMiner(margin=0.1, type_of_triplets=kind, distance=getattr(distances, distance)())
        found.append(set(zip(*(each.tolist() for each in miner(x, labels, *more)))))
    # Which side of the margin a triplet within float32's rounding falls on may differ.
    assert len(found[1]) > 0 and len(found[0] ^ found[1]) <= 2 + 1e-4 * len(found[1])


def test_distance_weighted_miner():
    x, labels, ref, ref_labels = data(7, n=60, d=16)
    for more, of in (((), labels), ((ref, ref_labels), ref_labels)):
        torch.manual_seed(0)
        a, p, n = D.DistanceWeightedMiner()(x, labels, *more)
        torch.manual_seed(0)
        assert all(torch.equal(first, again)
                   for first, again in zip((a, p, n), D.DistanceWeightedMiner()(x, labels, *more)))
        other = D.DistanceWeightedMiner()(x, labels, *more)[2]
        assert len(other) != len(n) or not torch.equal(other, n)
        assert len(a) > 0 and (labels[a] == of[p]).all() and (labels[a] != of[n]).all()
        assert more or (a != p).all()
        # Every positive pair of an anchor that has a negative in reach.
        u = torch.nn.functional.normalize(x)
        w = u if not more else torch.nn.functional.normalize(ref)
        reach = ((torch.cdist(u, w) < 1.4 - 1e-5) & (labels[:, None] != of[None])).any(dim=1)
        pairs = (labels[:, None] == of[None])
        if not more:
            pairs.fill_diagonal_(False)
        assert len(a) == int(pairs[reach].sum())
        assert (torch.cdist(u, w)[a, n] < 1.4 + 1e-5).all()


@pytest.mark.parametrize("cutoff, far", [(0.5, 1.4), (0.2, 1.9), (0, 1.2), (1.0, 1.4), (0.5, 0.3), (0.1, -0.01)])
def test_distance_weighted_draws(cutoff, far):
    """200 equal anchors, other classes' rows in three directions: how often each is drawn."""
    angles = torch.deg2rad(torch.tensor([0.0] * 200 + [20, 60, 100]))
    x = torch.stack([angles.cos(), angles.sin(), *[torch.zeros_like(angles)] * 3], dim=1)
    labels = torch.tensor([0] * 200 + [1, 2, 3])
    torch.manual_seed(0)
    a, _, n = D.DistanceWeightedMiner(cutoff, far)(x, labels)
    distance = (2 * torch.sin(angles[200:].double() / 2)).clamp(min=cutoff)
    weight = distance**-3 / (1 - distance**2 / 4) * (distance < far)  # 1/q, d = 5
    if weight.sum() == 0:
        assert len(a) == 0
        return
    assert len(a) == 200 * 199 and (a < 200).all()
    expected = weight / weight.sum()
    seen = torch.bincount(n - 200, minlength=3) / len(n)
    assert (seen - expected).abs().max() <= 5 * 0.5 / len(n) ** 0.5  # five deviations of a share of 1/2


@pytest.mark.parametrize("name", ["LpDistance", "CosineSimilarity"])
@pytest.mark.parametrize("power", [1, 2, 3])
def test_distances(name, power):
    x, _, ref, _ = data(8)
    ours, theirs = getattr(D, name)(power=power), getattr(PD, name)(power=power)
    for more in ((), (ref,)):
        # torch.cdist's expansion loses digits of close rows, the diagonal above all.
        assert (ours(x, *more) - theirs(x, *more)).abs().max() <= 2e-3
    assert ours.is_inverted == theirs.is_inverted
    assert torch.equal(ours.margin(x, x + 1), theirs.margin(x, x + 1))
    assert torch.equal(ours.smallest_dist(x, x + 1), theirs.smallest_dist(x, x + 1))
    assert torch.equal(ours.largest_dist(x, x + 1), theirs.largest_dist(x, x + 1))


@pytest.mark.parametrize("call, text", [
    (lambda x: D.LpDistance(p=1), "^p: expected 2, got 1"),
    (lambda x: D.CosineSimilarity(normalize_embeddings=False), "^normalize_embeddings: expected True"),
    (lambda x: D.TripletMarginLoss(triplets_per_anchor=3), "^triplets_per_anchor: expected 'all'"),
    (lambda x: D.TripletMarginMiner(type_of_triplets="soft"), "^type_of_triplets: expected all, hard"),
    (lambda x: D.CircleLoss(distance=D.LpDistance()), "^distance: expected CosineSimilarity"),
    (lambda x: D.SupConLoss()(x), "^labels or indices_tuple: expected one of them"),
    (lambda x: D.SupConLoss()(x, torch.zeros(3, dtype=torch.int64)), "^labels: expected a label a row"),
    (lambda x: D.SupConLoss()(x, torch.zeros(24, dtype=torch.int64), ref_emb=x + 1),
     "^ref_labels: expected the labels"),
    (lambda x: D.BatchHardMiner()(x, torch.zeros(24, dtype=torch.int64), x), "^ref_emb, ref_labels: expected both"),
    (lambda x: D.NTXentLoss()(x, None, (torch.zeros(1), torch.zeros(1))), "^indices_tuple: expected 3 or 4"),
])
def test_refused(call, text):
    with pytest.raises(ValueError, match=text):
        call(data(9)[0])


@pytest.mark.parametrize("labels", [[0], [0, 1, 2], [0, 0, 0]])
def test_nothing_to_compare(labels):
    x = torch.randn(len(labels), 5, requires_grad=True)
    for name in ("TripletMarginLoss", "NTXentLoss", "CircleLoss"):
        value = getattr(D, name)()(x, torch.tensor(labels))
        value.backward()
        assert value.item() == 0, name
    for name in ("BatchHardMiner", "TripletMarginMiner", "DistanceWeightedMiner"):
        assert all(len(each) == 0 for each in getattr(D, name)()(x, torch.tensor(labels))), name


def test_losses_of_pairs():
    torch.manual_seed(10)
    a, v = torch.randn(8, 6, requires_grad=True), torch.randn(8, 6)
    u, w = torch.nn.functional.normalize(a.double()), torch.nn.functional.normalize(v.double())
    own = torch.arange(8)
    expected = (torch.nn.functional.cross_entropy(u @ w.T / 0.07, own)
                + torch.nn.functional.cross_entropy(w @ u.T / 0.07, own)) / 2
    assert abs(D.ClipLoss()(a, v).item() - expected.item()) <= 1e-4
    sigmoid = D.SigLipLoss()
    sigmoid(a, v).backward()
    assert sigmoid.log_scale.grad is not None and sigmoid.bias.grad is not None and a.grad is not None


def test_distillation_module_weighs_by_trust():
    torch.manual_seed(11)
    a, v, ta, tv = (torch.nn.functional.normalize(torch.randn(8, 6)) for _ in range(4))
    rows, columns = D.distillation(a, v, ta, tv)
    trust = torch.tensor([1, 0, 1, 1, 0.5, 1, 0, 1])
    expected = ((rows * trust).sum() + (columns * trust).sum()) / 16
    assert torch.allclose(D.DistillationLoss()(a, v, ta, tv, trust, trust), expected)
    assert torch.allclose(D.DistillationLoss()(a, v, ta, tv), (rows.mean() + columns.mean()) / 2)


def test_psd_loss_is_its_parts():
    torch.manual_seed(12)
    a, v, ta, tv = (torch.nn.functional.normalize(torch.randn(8, 6)).requires_grad_() for _ in range(4))
    la, lv, pa, pv = (torch.randn(8, 3, requires_grad=True) for _ in range(4))
    labels, annotated = torch.randint(0, 3, (8,)), torch.tensor([True, False] * 4)
    loss = D.PsdLoss()(a, v, la, lv, ta, tv, pa, pv, labels, annotated, rho=0.5)
    loss.backward()
    assert all(each.grad is not None for each in (a, v, la, lv)) and all(each.grad is None for each in (ta, tv, pa, pv))
    q = torch.where(annotated[:, None], torch.nn.functional.one_hot(labels, 3).float(),
                    ((pa + pv) / 2).softmax(1)).detach()
    trust = (annotated | (pa.argmax(1) == pv.argmax(1))).float()
    of_labels = sum(torch.nn.functional.cross_entropy(z[annotated], labels[annotated]) for z in (la, lv))
    of_teacher = sum((torch.nn.functional.cross_entropy(z, q, reduction="none") * trust)[~annotated].sum() / 4
                     for z in (la, lv))
    kappa = torch.where(annotated, 1.0, 0.5)
    kl = D.DistillationLoss()(a, v, ta, tv, trust, trust, class_a=q, class_v=q, kappa_a=kappa, kappa_v=kappa)
    cross = D.SoftTripletLoss()(a, v, q, trust_a=trust)
    assert abs(loss.item() - (of_labels + cross + 0.25 * (kl + of_teacher)).item()) <= 1e-5
