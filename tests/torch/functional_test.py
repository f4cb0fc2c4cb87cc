"""duet.torch's operators: values and gradients against PyTorch's own in float64, torch.compile, autocast, types,
refusals."""
import math

import pytest
import torch

import duet
import duet.torch as D
from conftest import DEVICE, host_alone

torch.manual_seed(20250108)


def unit(n, d):
    return torch.nn.functional.normalize(torch.randn(n, d, device=DEVICE))


def info_nce(a, v, t):
    scores = a @ v.T / t
    own = torch.arange(len(a), device=a.device)
    return (torch.nn.functional.cross_entropy(scores, own) + torch.nn.functional.cross_entropy(scores.T, own)) / 2


def contrastive_loss(a, v, **more):
    rows, columns = D.contrastive(a, v, **more)
    return rows.mean() if columns is None else (rows.mean() + columns.mean()) / 2


def sigmoid_loss(a, v, t, bias):
    signs = 2 * torch.eye(len(a), dtype=a.dtype, device=a.device) - 1
    return torch.nn.functional.softplus(-signs * (a @ v.T / t + bias)).sum(dim=1).mean()


def distillation_loss(a, v, ta, tv):
    def one_way(student, teacher):
        return torch.nn.functional.kl_div((student / 0.1).log_softmax(1), (teacher / 0.2).softmax(1),
                                          reduction="batchmean")

    s, t = a @ v.T, ta @ tv.T
    return (one_way(s, t) + one_way(s.T, t.T)) / 2


def decorrelation_loss(a, v):
    def standard(x):
        return (x - x.mean(0)) / torch.sqrt(x.var(0, unbiased=False) + 1e-5)

    r = standard(a).T @ standard(v) / len(a)
    d = a.shape[1]
    return (r**2 * (1 - torch.eye(d, dtype=a.dtype, device=a.device))).sum() / (d * (d - 1))


def triplet_loss(a, v, labels, margin=0.2):
    distances = ((a[:, None] - v[None]) ** 2).sum(2)
    same = labels[:, None] == labels[None]
    gaps = (distances[:, :, None] + margin - distances[:, None, :])[same[:, :, None] & ~same[:, None, :]]
    return torch.relu(gaps).sum() / max(1, int((gaps > 0).sum()))


TEACHER = unit(9, 7), unit(9, 7)
LABELS = torch.tensor([0, 1, 2, 0, 1, 2, 0, 0, 1], device=DEVICE)
Q = torch.softmax(torch.randn(9, 4, device=DEVICE), dim=1)
CASES = {
    "euclidean": (lambda a, v: D.distance(a, v).sum(),
                  lambda a, v: torch.linalg.vector_norm(a[:, None] - v[None], dim=2).sum()),
    "sqeuclidean": (lambda a, v: D.distance(a, v, "sqeuclidean").square().sum(),
                    lambda a, v: ((a[:, None] - v[None]) ** 2).sum(2).square().sum()),
    "cosine": (lambda a, v: D.distance(2 * a, v, "cosine").square().sum(),
               lambda a, v: (1 - torch.nn.functional.normalize(a) @ torch.nn.functional.normalize(v).T).square().sum()),
    "inner": (lambda a, v: D.distance(a, v, "inner").square().sum(), lambda a, v: (a @ v.T).square().sum()),
    "unit rows": (lambda a, v: (D.unit_rows(3 * a) * v).sum(),
                  lambda a, v: (torch.nn.functional.normalize(3 * a) * v).sum()),
    "infonce": (lambda a, v: contrastive_loss(a, v, temperature=0.1), lambda a, v: info_nce(a, v, 0.1)),
    "sigmoid": (lambda a, v: contrastive_loss(a, v, kind="sigmoid", temperature=0.2, bias=-1.0),
                lambda a, v: sigmoid_loss(a, v, 0.2, -1.0)),
    "distillation": (lambda a, v: sum(each.mean()
                                      for each in D.distillation(a, v, *TEACHER, teacher_temperature=0.2)) / 2,
                     lambda a, v: distillation_loss(a, v, *(each.double() for each in TEACHER))),
    "alignment": (lambda a, v: sum(each.square().sum() for each in D.alignment(a, v)),
                  lambda a, v: ((a @ v.T / 0.1).logsumexp(1).square().sum()
                                + (a @ v.T / 0.1).logsumexp(0).square().sum())),
    "decorrelation": (lambda a, v: D.decorrelation(a, v), decorrelation_loss),
    "cross entropy": (lambda a, v: D.cross_entropy(a[:, :4], Q).sum() + 0 * v.sum(),
                      lambda a, v: (torch.nn.functional.cross_entropy(a[:, :4], Q.double(), reduction="sum")
                                    + 0 * v.sum())),
    "triplet": (lambda a, v: D.triplet(a, v, LABELS, LABELS), lambda a, v: triplet_loss(a, v, LABELS)),
}


@pytest.mark.parametrize("name", CASES)
def test_value_and_gradients(name):
    ours, theirs = CASES[name]
    a, v = unit(9, 7).requires_grad_(), unit(9, 7).requires_grad_()
    wide = a.detach().double().requires_grad_(), v.detach().double().requires_grad_()
    value, expected = ours(a, v), theirs(*wide)
    assert abs(value.item() - expected.item()) <= 2e-5 * max(1.0, abs(expected.item()))
    for ours_, theirs_ in zip(torch.autograd.grad(value, (a, v)), torch.autograd.grad(expected, wide)):
        # METHOD.md 5: relative to the largest entry; inner products of unit rows, over the temperature 0.1.
        assert (ours_ - theirs_).abs().max() <= 3e-5 * max(theirs_.abs().max().item(), 1e-6), name


@pytest.mark.parametrize("name", CASES)
def test_compiled(name):
    """The whole graph, gradients included; the same bits as eager."""
    ours = CASES[name][0]
    a, v = unit(9, 7).requires_grad_(), unit(9, 7).requires_grad_()
    compiled = torch.compile(ours, backend="aot_eager", fullgraph=True)
    value, expected = compiled(a, v), ours(a, v)
    assert torch.equal(value, expected)
    assert all(torch.equal(p, q) for p, q in zip(torch.autograd.grad(value, (a, v)),
                                                 torch.autograd.grad(expected, (a, v))))


def test_operators_keep_pytorchs_rules():
    a, v = unit(5, 3).requires_grad_(), unit(5, 3).requires_grad_()
    scale = torch.tensor([10.0], requires_grad=True, device=DEVICE)
    ops = torch.ops.duet
    torch.library.opcheck(ops.distance.default, (a, v, 1))
    torch.library.opcheck(ops.unit_rows.default, (a,))
    torch.library.opcheck(ops.decorrelation.default, (a, v))
    torch.library.opcheck(ops.cross_entropy.default, (a, v.detach()))
    torch.library.opcheck(ops.alignment.default, (a, v, scale, 0, False))
    torch.library.opcheck(ops.contrastive.default, (a, v, scale, *[None] * 12, 0, False, False, 0.0, 0, 0))
    labels = torch.tensor([0, 0, 1, 1, 2], device=DEVICE)
    torch.library.opcheck(ops.triplet.default, (a, v, *[None] * 4, labels, labels, *[None] * 6, 1, 0, 0.2, False, False,
                                                0, 1))


def test_learned_temperature_and_bias():
    a, v = unit(6, 5), unit(6, 5)
    t, bias = (torch.tensor(value, requires_grad=True, device=DEVICE) for value in (0.2, -1.0))
    contrastive_loss(a, v, kind="sigmoid", temperature=t, bias=bias).backward()
    wide = [each.detach().double().requires_grad_() for each in (t, bias)]
    sigmoid_loss(a.double(), v.double(), *wide).backward()
    for ours, theirs in zip((t, bias), wide):
        assert math.isclose(ours.grad.item(), theirs.grad.item(), rel_tol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_types(dtype):
    a, v = unit(6, 5).to(dtype).requires_grad_(), unit(7, 5).to(dtype)
    distances = D.distance(a, v)
    assert distances.dtype is torch.float32
    assert torch.equal(distances, D.distance(a.float(), v.float()))
    distances.sum().backward()
    assert a.grad.dtype is dtype


def test_autocast_is_float32_inside():
    a, v = unit(6, 5).requires_grad_(), unit(6, 5)
    with torch.autocast(DEVICE, dtype=torch.bfloat16):
        mixed = a @ torch.eye(5, device=DEVICE)
        assert mixed.dtype is torch.bfloat16
        loss = contrastive_loss(mixed, v)
        assert loss.dtype is torch.float32
    loss.backward()
    assert a.grad is not None and torch.isfinite(a.grad).all()


@pytest.mark.parametrize("layout", [lambda x: x.T.contiguous().T, lambda x: torch.repeat_interleave(x, 2, 0)[::2],
                                    lambda x: torch.cat([x, x], 1)[:, :5],
                                    lambda x: torch.repeat_interleave(x, 2, 1)[:, ::2]])
def test_layouts(layout):
    a, v = unit(6, 5), unit(7, 5)
    assert torch.equal(D.distance(layout(a), layout(v)), D.distance(a, v))
    expanded = a[:1].expand(6, 5)
    assert torch.equal(D.distance(expanded, v), D.distance(expanded.contiguous(), v))


@host_alone
def test_duet_takes_tensors_as_arrays():
    """Outside of autograd, by DLPack: with gradients to come, conjugate and negated views, halves."""
    a, v = unit(6, 5), unit(7, 5)
    expected = torch.from_numpy(duet.distance(a.numpy(), v.numpy()))
    assert torch.equal(torch.from_numpy(duet.distance(a.requires_grad_(), v)), expected)
    pending = torch.complex(torch.zeros_like(v), -v).conj().imag
    assert pending.is_neg()
    assert torch.equal(torch.from_numpy(duet.distance(a, pending)), expected)
    half = a.detach().bfloat16()
    assert torch.equal(torch.from_numpy(duet.distance(half, v)), torch.from_numpy(duet.distance(half.float(), v)))
    with pytest.raises(TypeError, match="^x: expected real numbers"):
        duet.distance(torch.zeros(2, 5, dtype=torch.complex64), v)
    with pytest.raises(TypeError, match="^x: Tensor does not hand over its memory"):
        duet.distance(torch.zeros(2, 5).to_sparse(), v)


@pytest.mark.parametrize("call, error, text", [
    (lambda x: D.distance(x, x[:, :3]), ValueError, r"inputs\.y: expected any x 5, got 6 x 3"),
    (lambda x: D.distance(x[0], x), ValueError, "^x: expected 2 dimensions"),
    (lambda x: D.distance(x, x, "manhattan"), ValueError, "^metric: expected one of"),
    (lambda x: D.distance(x.to("meta"), x.to("meta")).sum().item(), RuntimeError, "meta tensors"),
    (lambda x: D.contrastive(x, x, temperature=-1), ValueError, "^temperature: expected a number above 0"),
    (lambda x: D.contrastive(x, x, bias=1.0), ValueError, "^bias: expected 0"),
    (lambda x: D.triplet(x, x, torch.zeros(6), torch.zeros(6)), TypeError, "^labels_x: expected whole numbers"),
    (lambda x: D.triplet(x, x, torch.full((6,), 2**40), torch.zeros(6, dtype=torch.int64)), ValueError,
     "^labels_x: expected numbers of 32 bits"),
])
def test_refused(call, error, text):
    with pytest.raises(error, match=text):
        call(unit(6, 5))


@pytest.mark.parametrize("n, m", [(0, 3), (3, 0), (0, 0)])
def test_empty(n, m):
    a, v = (torch.zeros(rows, 4, requires_grad=True, device=DEVICE) for rows in (n, m))
    distances = D.distance(a, v)
    assert distances.shape == (n, m)
    distances.sum().backward()
    assert a.grad.shape == (n, 4) and v.grad.shape == (m, 4)
    labels = (torch.zeros(rows, dtype=torch.int64, device=DEVICE) for rows in (n, m))
    assert D.triplet(a, v, *labels).item() == 0
