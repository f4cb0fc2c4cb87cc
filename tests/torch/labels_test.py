"""Rows with several labels, n x C of 0 and 1, in losses and miners: against the pairs and triplets that the definition
(docs/METHOD.md 2 and 6.12) gives, and against duet's calls on NumPy arrays."""
import numpy as np
import pytest
import torch

import duet
import duet.torch as D

N, M, C = 14, 18, 40  # past one word of 32 classes


def unit(n, d=6):
    return torch.nn.functional.normalize(torch.randn(n, d))


@pytest.fixture
def sides():
    """Two sides and their classes, rows without any among them."""
    torch.manual_seed(3)
    sets = [(torch.rand(n, C) < 0.05).long() for n in (N, M)]
    assert all((each.sum(1) == 0).any() and (each.sum(1) > 1).any() for each in sets)
    return unit(N), unit(M), *sets


def relations(sx, sy, alone):
    """Positives and negatives, n x m."""
    share = (sx @ sy.T) > 0
    negative = ~share & (sx.sum(1) > 0)[:, None] & (sy.sum(1) > 0)[None]
    positive = share.clone()
    if alone:
        positive.fill_diagonal_(False)
    return positive, negative


def pairs(positive, negative):
    return (*torch.where(positive), *torch.where(negative))


@pytest.mark.parametrize("loss", [D.NTXentLoss(), D.SupConLoss(), D.CircleLoss(), D.TripletMarginLoss(margin=0.2),
                                  D.TripletMarginLoss(margin=0.2, swap=True), D.NTXentLoss(distance=D.LpDistance())],
                         ids=lambda each: f"{type(each).__name__} {getattr(each, 'swap', '')}")
@pytest.mark.parametrize("second", [False, True])
def test_loss_is_that_of_its_pairs(sides, loss, second):
    x, y, sx, sy = sides
    x = x.clone().requires_grad_()
    positive, negative = relations(sx, sy if second else sx, not second)
    of_labels = loss(x, sx, ref_emb=y, ref_labels=sy) if second else loss(x, sx)
    of_pairs = loss(x, None, pairs(positive, negative), **({"ref_emb": y} if second else {}))
    assert of_pairs.item() > 0 and abs(of_labels.item() - of_pairs.item()) <= 2e-5 * max(1, of_pairs.item())
    ours, theirs = torch.autograd.grad(of_labels, x)[0], torch.autograd.grad(of_pairs, x)[0]
    # Float32 on both sides, exponents of up to 80.
    assert (ours - theirs).abs().max() <= 1e-4 * theirs.abs().max()


@pytest.mark.parametrize("second", [False, True])
def test_miners(sides, second):
    x, y, sx, sy = sides
    other, of_other = (y, sy) if second else (x, sx)
    more = (y, sy) if second else ()
    positive, negative = relations(sx, of_other, not second)
    d = torch.cdist(x.double(), other.double())
    a, p, n = D.BatchHardMiner()(x, sx, *more)
    has = positive.any(1) & negative.any(1)
    assert has.any() and torch.equal(a, torch.where(has)[0])
    assert torch.equal(p, torch.where(positive, d, -torch.inf).argmax(1)[has])
    assert torch.equal(n, torch.where(negative, d, torch.inf).argmin(1)[has])
    every = torch.where(positive[:, :, None] & negative[:, None])
    gap = d[every[0], every[2]] - d[every[0], every[1]]
    kept = (gap > 0) & (gap <= 0.1)
    found = D.TripletMarginMiner(margin=0.1, type_of_triplets="semihard")(x, sx, *more)
    assert kept.any() and set(zip(*(each.tolist() for each in found))) == set(
        zip(*(each[kept].tolist() for each in every)))
    a, p, n = D.DistanceWeightedMiner()(x, sx, *more)
    assert len(a) and positive[a, p].all() and negative[a, n].all()


def test_operations_give_what_numpy_does(sides):
    x, y, sx, sy = sides
    for mining in ("all", "hard", "semihard"):
        expected = duet.triplet(x.numpy(), y.numpy(), sx.numpy(), sy.numpy(), mining=mining).loss
        assert abs(D.triplet(x, y, sx, sy, mining=mining).item() - expected) <= 1e-6 * max(1, expected) and expected > 0
    for kind in ("multi_positive", "decoupled", "circle", "ntxent"):
        terms = duet.contrastive(x.numpy(), y.numpy(), kind, labels_a=sx.numpy(), labels_v=sy.numpy())
        for labels in ((sx, sy), (sx.bool(), sy.bool()), (sx.float(), sy.float())):
            rows, columns = D.contrastive(x, y, kind, labels_a=labels[0], labels_v=labels[1])
            assert np.array_equal(rows.numpy(), terms.row_loss) and np.array_equal(columns.numpy(), terms.column_loss)


def test_annotated_rows_give_what_numpy_does(sides):
    x, y, sx, sy = sides
    q = [(each / each.sum(1, keepdim=True).clamp(min=1)).float() for each in (sx, sy)]
    known = [(each.sum(1) > 0).float() for each in (sx, sy)]
    common = dict(class_a=q[0], class_v=q[1], annotated_a=known[0], annotated_v=known[1], paired=False)
    arrays = {key: each.numpy() if isinstance(each, torch.Tensor) else each for key, each in common.items()}
    rows, _ = D.distillation(x, y, x, y, kappa_a=known[0], kappa_v=known[1], **common)
    expected = duet.distillation(*(each.numpy() for each in (x, y, x, y)), kappa_a=known[0].numpy(),
                                 kappa_v=known[1].numpy(), **arrays).row_loss
    assert np.array_equal(rows.numpy(), expected)
    rows, _ = D.contrastive(x, y, "multi_positive", **common)
    assert np.array_equal(rows.numpy(), duet.contrastive(x.numpy(), y.numpy(), "multi_positive", **arrays).row_loss)
    common = {key[:-1] + {"a": "x", "v": "y", "d": "d"}[key[-1]]: each for key, each in common.items()}
    assert D.triplet(x, y, **common).item() > 0
    both = D.SoftTripletLoss()(x, y, *q, paired=False, annotated_a=known[0], annotated_v=known[1])
    swapped = {"class_x": q[1], "class_y": q[0], "annotated_x": known[1], "annotated_y": known[0], "paired": False}
    assert abs(both.item() - D.triplet(x, y, **common).item() - D.triplet(y, x, **swapped).item()) <= 1e-6


def test_psd_loss_of_one_class_a_row_is_that_of_labels():
    torch.manual_seed(5)
    a, v, ta, tv = (unit(8) for _ in range(4))
    logits = [torch.randn(8, 3) for _ in range(4)]
    labels, annotated = torch.tensor([0, 1, 2, -1, 0, 1, 2, 0]), torch.tensor([True, True, True, True] + [False] * 4)
    rows = torch.nn.functional.one_hot(labels.clamp(min=0), 3) * (labels >= 0).long()[:, None]
    expected = D.PsdLoss()(a, v, *logits[:2], ta, tv, *logits[2:], labels, annotated)
    assert abs(D.PsdLoss()(a, v, *logits[:2], ta, tv, *logits[2:], rows, annotated).item() - expected.item()) <= 1e-6


def test_one_class_a_row_is_a_label():
    torch.manual_seed(4)
    x, labels = unit(20), torch.randint(0, 4, (20,))
    rows = torch.nn.functional.one_hot(labels, 4)
    for loss in (D.NTXentLoss(), D.SupConLoss(), D.CircleLoss(), D.TripletMarginLoss()):
        assert torch.equal(loss(x, rows), loss(x, labels)), loss
        assert torch.equal(loss(x, labels[:, None]), loss(x, labels)), loss
    for miner in (D.BatchHardMiner(), D.TripletMarginMiner()):
        assert all(torch.equal(p, q) for p, q in zip(miner(x, rows), miner(x, labels)))


def test_compiled(sides):
    x, y, sx, sy = sides

    def loss(x, y, sx, sy):
        return D.triplet(x, y, sx, sy) + D.contrastive(x, y, "ntxent", labels_a=sx, labels_v=sy)[0].mean()

    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)
    assert torch.equal(compiled(x, y, sx, sy), loss(x, y, sx, sy))


@pytest.mark.parametrize("call, text", [
    (lambda x, s: D.triplet(x, x, s, torch.zeros(6)), "^labels_y: expected rows of several labels on both sides"),
    (lambda x, s: D.triplet(x, x, s, s[:, :2]), "^labels_y: expected rows of 3 classes, as in labels_x, got 2"),
    (lambda x, s: D.triplet(x, x, s, 2 * s), "^labels_y: expected 0 and 1 in rows of several labels"),
    (lambda x, s: D.triplet(x, x, s[:4], s), r"inputs\.labels_x: expected 6 elements, got 4"),
    (lambda x, s: D.SupConLoss()(x, 3 * s), "^labels: expected 0 and 1"),
    (lambda x, s: D.SupConLoss()(x, s, ref_emb=x + 1, ref_labels=s[:, :2]), "^ref_labels: expected rows of 3 classes"),
    (lambda x, s: D.BatchHardMiner()(x, s[None]), "^labels: expected a label a row"),
])
def test_refused(call, text):
    with pytest.raises(ValueError, match=text):
        call(unit(6), torch.eye(3, dtype=torch.int64).repeat(2, 1))


def test_no_rows_of_several_labels():
    nothing, labels = torch.zeros(0, 6), torch.zeros(0, 3, dtype=torch.int64)
    assert D.triplet(nothing, nothing, labels, labels).item() == 0
    assert all(each.numel() == 0 for each in D.BatchHardMiner()(nothing, labels))
    assert all(each.numel() == 0 for each in D.DistanceWeightedMiner()(nothing, labels))


def test_a_column_of_numbers_is_a_label_a_row():
    torch.manual_seed(5)
    a, v, labels = unit(9), unit(9), torch.arange(9) % 3
    for loss in (D.SupConLoss(), D.TripletMarginLoss(margin=0.2)):
        expected = loss(a, labels, ref_emb=v, ref_labels=labels)
        assert loss(a, labels[:, None], ref_emb=v, ref_labels=labels) == expected
        assert loss(a, labels, ref_emb=v, ref_labels=labels[:, None]) == expected
    labels = torch.where(labels == 2, -1, labels)
    logits = [torch.randn(9, 4) for _ in range(4)]
    given = (a, v, *logits[:2], v, a, *logits[2:])
    known = torch.ones(9, dtype=torch.bool)
    assert D.PsdLoss()(*given, labels[:, None], known) == D.PsdLoss()(*given, labels, known)
    with pytest.raises(ValueError, match="^labels: expected 4 classes"):
        D.PsdLoss()(*given, torch.ones(9, 3, dtype=torch.int64), known)


@pytest.mark.parametrize("rows", [4, 6])
def test_labels_of_another_number_of_rows(rows):
    a, v, labels = unit(5), unit(5), torch.arange(5) % 2
    with pytest.raises(ValueError, match="^ref_labels: expected a label a row of ref_emb"):
        D.NTXentLoss(distance=D.LpDistance())(a, labels, ref_emb=v, ref_labels=torch.arange(rows) % 2)
    with pytest.raises(ValueError, match="^ref_labels: expected a label a row of ref_emb"):
        D.BatchHardMiner()(a, labels, v, torch.arange(rows) % 2)


def test_a_pending_negation_of_one_column_is_worked_out():
    z = torch.complex(torch.randn(6, 1), torch.randn(6, 1))
    x, labels = z.conj().imag, torch.arange(6) % 2
    assert x.is_neg()
    of = D.BatchHardMiner(distance=D.LpDistance(normalize_embeddings=False))
    y = torch.randn(6, 1)
    plain = x.clone().resolve_neg()
    assert all(torch.equal(p, q) for p, q in zip(of(x, labels, y, labels), of(plain, labels, y, labels)))
