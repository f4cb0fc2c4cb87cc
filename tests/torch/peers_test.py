"""docs/PEERS.md's rows of pytorch-metric-learning: both packages on the same input, both numbers."""
import pytest
import pytorch_metric_learning.distances as PD
import pytorch_metric_learning.losses as PL
import pytorch_metric_learning.miners as PM
import torch

import duet
import duet.torch as D

LOSSES = ("NTXentLoss", "SupConLoss", "CircleLoss")
LABELS = torch.tensor([0, 0, 0, 1, 1, 2])
CLOSE = 1e-4  # relative; both sides are float32


def rows(seed=0, n=6):
    torch.manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(n, 4))


def close(p, q):
    return abs(float(p) - float(q)) <= CLOSE * abs(float(q))


@pytest.mark.parametrize("name", LOSSES)
def test_own_pair_of_a_loss(name):
    x, same = rows(), LABELS
    theirs, ours = getattr(PL, name)(), getattr(D, name)()
    without = ours(x, same)
    with_own = ours(x, same, ref_emb=x.clone(), ref_labels=same)
    assert not close(without, with_own)
    assert close(theirs(x, same), without)
    # There the object of the labels decides, here that of the embeddings.
    assert close(theirs(x, same, ref_emb=x.clone(), ref_labels=same), without)
    assert close(theirs(x, same, ref_emb=x, ref_labels=same.clone()), with_own)
    assert close(ours(x, same, ref_emb=x, ref_labels=same.clone()), without)


@pytest.mark.parametrize("name, options, without, with_own", [
    ("BatchHardMiner", {}, (5, 5), (6, 6)),
    # A margin that no triplet keeps: of 3, 2 and 1 rows (6 x 3 + 2 x 4) and (9 x 3 + 4 x 4 + 1 x 5).
    ("TripletMarginMiner", {"margin": 3.0}, (26, 26), (48, 48)),
    # There as many draws as the class has rows, where it has a positive; here one for each positive.
    ("DistanceWeightedMiner", {}, (13, 8), (14, 14)),
])
def test_counts_of_a_miner(name, options, without, with_own):
    x, same = torch.nn.functional.normalize(1 + 0.1 * rows()), LABELS  # every negative within 1.4
    miners = getattr(PM, name)(**options), getattr(D, name)(**options)

    def counts(*second):
        return tuple(len(miner(x, same, *second)[0]) for miner in miners)

    assert counts() == without
    assert counts(x.clone(), same) == (without[0], with_own[1])
    assert counts(x, same.clone()) == (with_own[0], without[1])


@pytest.mark.parametrize("name", [*LOSSES, "TripletMarginLoss"])
def test_labels_below_zero_are_a_class_to_the_modules(name):
    x, labels = rows(), torch.tensor([0, 0, 1, 1, -1, -1])
    theirs, ours = getattr(PL, name)()(x, labels), getattr(D, name)()(x, labels)
    assert close(theirs, ours)
    assert close(ours, getattr(D, name)()(x, labels + 1))


def test_labels_below_zero_are_unlabelled_to_the_operations():
    x, labels = rows(), torch.tensor([0, 0, 1, 1, -1, -1])
    both = dict(margin=0.05, metric="euclidean", exclude_own=True)
    whole, labelled = D.triplet(x, x, labels, labels, **both), D.triplet(x[:4], x[:4], labels[:4], labels[:4], **both)
    assert close(whole, labelled) and not close(whole, PL.TripletMarginLoss()(x, labels))
    found = duet.mine_hard(x, x, labels, labels, exclude_own=True)
    assert (found.positive_index[4:] == -1).all() and len(PM.BatchHardMiner()(x, labels)[0]) == 6


def test_ntxent_is_the_mean_over_positive_pairs():
    x = rows()
    terms = D.contrastive(x, x, "ntxent", temperature=0.07, labels_a=LABELS, labels_v=LABELS, exclude_own=True)[0]
    theirs = PL.NTXentLoss(temperature=0.07)(x, LABELS)
    assert close(theirs, terms.sum() / 8)  # of 3, 2 and 1 rows: 6 + 2 positive pairs
    assert close(theirs, D.NTXentLoss(temperature=0.07)(x, LABELS)) and not close(theirs, terms.mean())


def test_semihard_triplets():
    x = rows(1, 12)
    labels = torch.tensor([0, 1, 2] * 4)
    theirs = set(zip(*(each.tolist() for each in PM.TripletMarginMiner(0.2, type_of_triplets="semihard")(x, labels))))
    ours = set(zip(*(each.tolist() for each in D.TripletMarginMiner(0.2, type_of_triplets="semihard")(x, labels))))
    nearest = duet.mine_semihard(x, x, labels, labels, margin=0.2, exclude_own=True).triplets
    mined = {tuple(each) for each in nearest.tolist() if each[2] >= 0}
    assert theirs == ours and mined < theirs
    assert len(mined) == len({each[:2] for each in theirs})  # one of each positive pair that has any


def test_supcon_without_negatives():
    x = rows()
    scores = (x @ x.T / 0.1).fill_diagonal_(-torch.inf)
    over_positives = scores.logsumexp(1) - scores.masked_fill(torch.eye(6, dtype=torch.bool), 0).sum(1) / 5
    labels = torch.zeros(6, dtype=torch.int64)
    assert close(D.SupConLoss()(x, labels), over_positives.mean())
    assert PL.SupConLoss()(x, labels) == 0


def test_swap_with_a_second_set():
    x, ref, labels, of_ref = rows(), rows(1, 5), torch.tensor([0, 0, 1, 1, 2, 2]), torch.tensor([0, 1, 2, 0, 1])
    a, p, n = torch.where((labels[:, None] == of_ref[None])[:, :, None] & (labels[:, None] != of_ref[None])[:, None, :])

    def loss(from_positive):
        far = torch.minimum((x[a] - ref[n]).norm(dim=1), (from_positive[p] - ref[n]).norm(dim=1))
        gaps = torch.relu((x[a] - ref[p]).norm(dim=1) - far + 0.3)
        return gaps[gaps > 0].mean()

    ours, theirs = (losses.TripletMarginLoss(margin=0.3, swap=True)(x, labels, ref_emb=ref, ref_labels=of_ref)
                    for losses in (D, PL))
    assert close(ours, loss(ref)) and close(theirs, loss(x)) and not close(loss(ref), loss(x))


def test_distances_of_equal_rows():
    torch.manual_seed(0)
    x = torch.randn(30, 64)
    assert D.LpDistance()(x).diagonal().max() == 0
    assert PD.LpDistance()(x).diagonal().max() > 1e-4
    assert PD.LpDistance(p=1)(x).shape == (30, 30)
    with pytest.raises(ValueError, match="^p: expected 2, got 1"):
        D.LpDistance(p=1)


def test_types():
    angles = torch.deg2rad(torch.tensor([0.0, 20, 40, 60, 80]))
    x, labels = torch.stack([angles.cos(), angles.sin()], dim=1).half(), torch.tensor([0, 0, 1, 1, 2])
    options = dict(m=0.25, gamma=256)
    exact = PL.CircleLoss(**options)(x.double(), labels)
    assert exact.dtype is torch.float64 and abs(exact.item() - 176.0740) <= 1e-3
    assert PL.CircleLoss(**options)(x, labels).item() == 176.0  # sums of float16, whose neighbours are 0.125 apart here
    ours = D.CircleLoss(**options)(x, labels)
    assert ours.dtype is torch.float16 and ours == exact.half() == 176.125
    wide = D.CircleLoss(**options)(x.double(), labels)
    assert wide.dtype is torch.float64 and wide == wide.float().double() and wide != exact


def test_statistics_of_embeddings_are_not_kept():
    assert hasattr(PL.TripletMarginLoss(), "collect_stats") and not hasattr(D.TripletMarginLoss(), "collect_stats")


def test_labels_of_two_dimensions():
    x = rows()
    for two in (LABELS[:, None], torch.nn.functional.one_hot(LABELS)):
        with pytest.raises(ValueError):
            PL.TripletMarginLoss()(x, two)
        assert close(D.TripletMarginLoss()(x, two), D.TripletMarginLoss()(x, LABELS))
