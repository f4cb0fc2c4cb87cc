"""The short way of plain tensors beside PyTorch's operators: the same bits; and who takes the operators' way."""
import subprocess
import sys

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

import duet.torch as D
from conftest import DEVICE, host_alone

torch.manual_seed(20250109)


def unit(n, d):
    return torch.nn.functional.normalize(torch.randn(n, d, device=DEVICE))


A, V, LABELS = unit(9, 7), unit(9, 7), torch.tensor([0, 1, 2, 0, 1, 2, 0, 0, 1], device=DEVICE)
SCALE = torch.tensor([10.0], device=DEVICE)
OPERATORS = {
    "distance": (lambda a: D.distance(a, V), lambda ops, a: ops.distance(a, V, 2)),
    "unit_rows": (lambda a: D.unit_rows(a), lambda ops, a: ops.unit_rows(a)),
    "contrastive": (lambda a: D.contrastive(a, V)[0],
                    lambda ops, a: ops.contrastive(a, V, SCALE, *[None] * 12, 0, False, False, 0.0, 0, 0)[0]),
    "distillation": (lambda a: D.distillation(a, V, V, A)[1],
                     lambda ops, a: ops.distillation(a, V, SCALE, *[None] * 8, V, A, SCALE, None, None, True, False, 0,
                                                     0)[1]),
    "alignment": (lambda a: D.alignment(a, V)[0], lambda ops, a: ops.alignment(a, V, SCALE, 0, False)[0]),
    "cross_entropy": (lambda a: D.cross_entropy(a, V), lambda ops, a: ops.cross_entropy(a, V)),
    "decorrelation": (lambda a: D.decorrelation(a, V), lambda ops, a: ops.decorrelation(a, V).reshape(())),
    "triplet": (lambda a: D.triplet(a, V, LABELS, LABELS),
                lambda ops, a: ops.triplet(a, V, *[None] * 4, LABELS, LABELS, *[None] * 6, 1, 0, 0.2, False, False, 0,
                                           1)[0]),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_the_same_bits_as_the_operator(name):
    """Twice: before and after a call has left a plan. Without a gradient to come, and with one."""
    plain, by_operator = OPERATORS[name]
    for _ in range(2):
        assert torch.equal(plain(A), by_operator(torch.ops.duet, A))
        found = []
        for call in (plain, lambda a: by_operator(torch.ops.duet, a)):
            a = A.clone().requires_grad_()
            value = call(a)
            value.backward(torch.linspace(0.1, 1, value.numel(), device=DEVICE).reshape(value.shape))
            found.append((value.detach(), a.grad))
        assert all(torch.equal(p, q) for p, q in zip(*found)) and found[0][1].abs().max() > 0


class Log(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.seen.append(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", OPERATORS)
def test_a_mode_sees_the_operator_and_its_gradient(name):
    a = A.clone().requires_grad_()
    with Log() as log:
        OPERATORS[name][0](a).sum().backward()
    assert f"duet.{name}.default" in log.seen
    assert name == "triplet" or f"duet.{name}_backward.default" in log.seen  # its gradient is PyTorch's operators


def test_a_subclass_sees_the_operator():
    seen = []

    class Tagged(torch.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            seen.append(str(func))
            return super().__torch_function__(func, types, args, kwargs or {})

    assert torch.equal(D.distance(A.as_subclass(Tagged), V).as_subclass(torch.Tensor), D.distance(A, V))
    assert any("duet" in each for each in seen)


def test_transforms_are_pytorchs_to_refuse():
    """Its register_autograd() takes none; a plain tensor within one is no plain tensor."""
    with pytest.raises(RuntimeError, match="functorch transforms"):
        torch.func.grad(lambda a: D.distance(a, V).sum())(A)


@pytest.mark.parametrize("name", OPERATORS)
def test_a_gradient_of_a_gradient_is_refused(name):
    a = A.clone().requires_grad_()
    loss = OPERATORS[name][0](a).square().sum()
    with pytest.raises((RuntimeError, NotImplementedError), match="duet|autograd|differentiable|does not require grad"):
        (first,) = torch.autograd.grad(loss, a, create_graph=True)
        torch.autograd.grad(first.square().sum(), a)


def test_one_term_alone():
    """Of rows or of columns: the other's gradient is nothing."""
    for place in (0, 1):
        a = A.clone().requires_grad_()
        D.contrastive(a, V)[place].sum().backward()
        b = A.clone().requires_grad_()
        scores = b @ V.T * 10
        scores = scores if place == 0 else scores.T
        torch.nn.functional.cross_entropy(scores, torch.arange(9, device=DEVICE), reduction="sum").backward()
        assert (a.grad - b.grad).abs().max() <= 3e-5 * b.grad.abs().max()


@host_alone
def test_tensors_that_are_not_as_they_lie():
    expected = D.distance(A, V)
    pending = torch.complex(torch.zeros_like(A), -A).conj().imag
    assert pending.is_neg() and torch.equal(D.distance(pending, V), expected)
    odd = torch.frombuffer(bytearray(b"\0" + A.numpy().tobytes()), dtype=torch.uint8)[1:]
    odd = torch.frombuffer(odd.numpy(), dtype=torch.float32).reshape(9, 7)
    assert odd.data_ptr() % 4 and torch.equal(D.distance(odd, V), expected)
    assert torch.equal(D.distance(A.T.contiguous().T, V), expected)
    assert torch.equal(D.distance(torch.nn.Parameter(A), V), expected)
    with pytest.raises((NotImplementedError, RuntimeError)):
        D.distance(A.to_sparse(), V)


def test_inference_then_training():
    with torch.inference_mode():
        value = D.contrastive(A, V, temperature=0.37)[0]
    a = A.clone().requires_grad_()
    trained = D.contrastive(a, V, temperature=0.37)[0]
    trained.sum().backward()
    assert torch.equal(value, trained.detach()) and a.grad is not None


def test_the_default_type_does_not_matter():
    expected = D.contrastive(A, V, temperature=0.29)[0]
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.equal(D.contrastive(A, V, temperature=0.29)[0], expected)
    finally:
        torch.set_default_dtype(torch.float32)


def test_checkpoint():
    a, b = A.clone().requires_grad_(), A.clone().requires_grad_()
    checkpoint(lambda x: D.contrastive(D.unit_rows(x), V)[0].sum(), a, use_reentrant=False).backward()
    D.contrastive(D.unit_rows(b), V)[0].sum().backward()
    assert torch.equal(a.grad, b.grad)


def test_without_pytorchs_own_questions_the_operators_do_it():
    code = """
import torch
import torch._dynamo
kept = torch._C._len_torch_function_stack
del torch._C._len_torch_function_stack
import duet.torch
torch._C._len_torch_function_stack = kept
from duet.torch import _eager
assert not _eager.HAS_SHORT_WAY and _eager.watched()
x = torch.randn(6, 3, requires_grad=True)
duet.torch.TripletMarginLoss(margin=0.2)(x, torch.arange(6) % 2).backward()
assert x.grad.abs().sum() > 0
"""
    subprocess.run([sys.executable, "-c", code], check=True)
