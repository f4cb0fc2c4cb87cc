"""duet.torch on a GPU: on the stream that PyTorch works on, in its graphs, beside the CPU's results at sizes of several
tiles. Run where DUET_TEST_DEVICE is cuda, skipped elsewhere."""
import pytest
import torch

import duet.torch as D
from conftest import DEVICE, beside_cpu

pytestmark = pytest.mark.skipif(DEVICE != "cuda", reason="of a GPU")


def unit(n, d):
    return torch.nn.functional.normalize(torch.randn(n, d))


N, M, WIDTH = 517, 389, 96
CLASSES, SHARPNESS, MARGIN = 7, 4, 0.2


def class_distributions(labels):
    return torch.softmax(SHARPNESS * torch.nn.functional.one_hot(labels, CLASSES).float(), dim=1)


def active_weight(x, y, labels_x, labels_y):
    """Z of docs/METHOD.md 3, of soft triplets whose anchors are the rows of x."""
    same = class_distributions(labels_x).double() @ class_distributions(labels_y).double().T
    d = torch.cdist(x.double(), y.double()).square()
    return sum(float((near[:, None] * (1 - near) * (row + MARGIN > row[:, None]).T).sum())
               for near, row in zip(same, d))
CALLS = {
    "distance": lambda a, v, s, t: D.distance(a, v).square().sum(),
    "infonce": lambda a, v, s, t: D.contrastive(a[:M], v)[0].mean(),
    "supcon": lambda a, v, s, t: D.SupConLoss()(a, s, ref_emb=v, ref_labels=t),
    "circle": lambda a, v, s, t: D.CircleLoss()(a, s, ref_emb=v, ref_labels=t),
    "triplet": lambda a, v, s, t: D.TripletMarginLoss(margin=0.2)(a, s, ref_emb=v, ref_labels=t),
    "ntxent": lambda a, v, s, t: D.NTXentLoss(0.5)(a, s, ref_emb=v, ref_labels=t),
    "soft triplet": lambda a, v, s, t: D.SoftTripletLoss(MARGIN)(a, v, class_distributions(s), class_distributions(t),
                                                                 paired=False),
    "decorrelation": lambda a, v, s, t: D.decorrelation(a[:M], v),
    "alignment": lambda a, v, s, t: sum(each.square().sum() for each in D.alignment(a, v)),
}


@pytest.fixture
def sides():
    torch.manual_seed(11)
    return unit(N, WIDTH), unit(M, WIDTH), torch.randint(CLASSES, (N,)), torch.randint(CLASSES, (M,))


@beside_cpu
@pytest.mark.parametrize("name", CALLS)
def test_beside_the_cpu(sides, name):
    found = []
    for device in ("cpu", "cuda"):
        a, v, s, t = (each.to(device).clone() for each in sides)
        a.requires_grad_()
        v.requires_grad_()
        value = CALLS[name](a, v, s, t)
        value.backward()
        found.append((value.item(), *((torch.zeros_like(x) if x.grad is None else x.grad).cpu() for x in (a, v))))
    (ours, *gradients), (theirs, *others) = found
    # docs/METHOD.md 5: relative to the largest entry.
    assert abs(ours - theirs) <= 2e-5 * max(1.0, abs(theirs))
    # Float32 on both sides, exponents of up to 80. A triplet whose gap is within rounding of 0 may count here and not
    # there: 2 (y_n - y_p), at most 4, over the weight of all that count.
    a, v, s, t = sides
    of_one = 4 / active_weight(a, v, s, t) + 4 / active_weight(v, a, t, s) if name == "soft triplet" else 0
    for p, q in zip(gradients, others):
        assert (p - q).abs().max() <= 1e-4 * q.abs().max() + of_one


@beside_cpu
def test_miners_beside_the_cpu(sides):
    a, v, s, t = sides
    on_device = [each.cuda() for each in sides]
    for miner in (D.BatchHardMiner(), D.TripletMarginMiner(margin=0.1, type_of_triplets="semihard")):
        host = miner(a, s, v, t)
        found = miner(on_device[0], on_device[2], on_device[1], on_device[3])
        sets = [set(zip(*(each.tolist() for each in some))) for some in (host, found)]
        # Which of two is taken that float32's rounding holds equal, and which side of the margin a triplet within it
        # falls on, may differ.
        assert all(each.is_cuda for each in found) and len(sets[0] ^ sets[1]) <= 2 + 1e-4 * len(sets[0])


def test_calls_are_on_the_stream_that_pytorch_works_on():
    """What the stream did before a call is in its inputs, though it takes a while."""
    before, after, y = (unit(N, WIDTH).cuda() for _ in range(3))
    expected = D.distance(after, y)
    stream = torch.cuda.Stream()
    D.distance(before, y)  # a context, code that is loaded
    with torch.cuda.stream(stream):
        D.distance(before, y)
        x = before.clone()
        torch.cuda._sleep(int(2e8))  # about 0.1 s
        x.copy_(after)
        found = D.distance(x, y)
        copied = found.clone()
    assert not stream.query()  # nobody has waited
    stream.synchronize()
    assert torch.equal(found, expected) and torch.equal(copied, expected)


@pytest.mark.parametrize("name", CALLS)
def test_in_a_graph(sides, name):
    """Values and gradients, captured on a stream that has seen the call, replayed with other inputs: the same bits."""
    a, v, s, t = (each.cuda() for each in sides)
    a.requires_grad_()
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(2):
            torch.autograd.grad(CALLS[name](a, v, s, t), a)
    stream.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        value = CALLS[name](a, v, s, t)
        (gradient,) = torch.autograd.grad(value, a)
    for seed in (1, 2):
        torch.manual_seed(seed)
        with torch.no_grad():
            a.copy_(unit(N, WIDTH))
        graph.replay()
        torch.cuda.synchronize()
        captured = value.clone(), gradient.clone()
        with torch.cuda.stream(stream):
            again = CALLS[name](a, v, s, t)
            (of_eager,) = torch.autograd.grad(again, a)
        stream.synchronize()
        assert torch.equal(captured[0], again) and torch.equal(captured[1], of_eager)


def test_two_devices_in_one_call_are_refused():
    with pytest.raises((ValueError, RuntimeError), match="cuda"):
        D.distance(unit(3, 2).cuda(), unit(3, 2))
