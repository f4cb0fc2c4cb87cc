"""What a call of the Python package costs beyond the C call: a table of medians in microseconds.

usage: PYTHONPATH=build/release/python python bench/python_overhead.py [--calls N] [--numpy]

Arrays are tiny (8 x 8), so that the call's own work is small; plans and workspaces are warm. Of each call the time of
the C calls within it is taken off, as ctypes makes them: what is left is Python's, PyTorch's and the clock's (0.2 us a
C call). For PyTorch the table ends with its own share: a custom operator that computes nothing, registered as
duet.torch registers its own.
"""
import argparse
import gc
import statistics
import time

import numpy as np

import duet
from duet._operation import Operation

N, D = 8, 8
WARM_UP = 200


class Clock:
    """Wraps the C calls of every operation of the package; spent: their nanoseconds since it was set to 0."""

    def __init__(self):
        self.spent = 0
        for operation in [each for each in gc.get_objects() if type(each) is Operation]:
            operation._call = self.timed(operation._call)

    def timed(self, call):
        clock = time.perf_counter_ns

        def run(*arguments):
            begin = clock()
            status = call(*arguments)
            self.spent += clock() - begin
            return status

        return run

    def overhead(self, call, calls):
        """Of a call in microseconds, the median, and that of the C calls within it."""
        for _ in range(WARM_UP):
            call()
        beyond, within = [], []
        for _ in range(calls):
            self.spent = 0
            begin = time.perf_counter_ns()
            call()
            beyond.append(time.perf_counter_ns() - begin - self.spent)
            within.append(self.spent)
        return statistics.median(beyond) / 1e3, statistics.median(within) / 1e3


def of_numpy():
    rng = np.random.default_rng(0)
    a, v = rng.standard_normal((2, N, D), dtype=np.float32)
    a, v = duet.unit_rows(a), duet.unit_rows(v)
    labels = (np.arange(N) % 3).astype(np.int32)
    wide = labels.astype(np.int64)
    grad = np.ones((N, N), np.float32)
    distances = duet.distance(a, v)
    terms = duet.contrastive(a, v)
    return {
        "distance": lambda: duet.distance(a, v),
        "distance_gradients": lambda: duet.distance_gradients(a, v, grad, "euclidean", distances),
        "unit_rows": lambda: duet.unit_rows(a),
        "top_k": lambda: duet.top_k(a, v, 3),
        "mine_hard": lambda: duet.mine_hard(a, v, labels, labels),
        "mine_hard, labels of 64 bits": lambda: duet.mine_hard(a, v, wide, wide),
        "mine_semihard (2 C calls)": lambda: duet.mine_semihard(a, v, labels, labels),
        "mine_distance_weighted": lambda: duet.mine_distance_weighted(a, v, labels, labels),
        "triplet": lambda: duet.triplet(a, v, labels, labels),
        "contrastive": lambda: duet.contrastive(a, v),
        "contrastive by labels": lambda: duet.contrastive(a, v, "multi_positive", labels_a=labels, labels_v=labels),
        "its .gradients()": lambda: terms.gradients(),
        "distillation": lambda: duet.distillation(a, v, v, a),
        "alignment": lambda: duet.alignment(a, v),
        "decorrelation": lambda: duet.decorrelation(a, v),
        "retrieval": lambda: duet.retrieval(a, v, labels, labels),
    }


def of_torch():
    """By name: forward without gradient, forward with, forward and backward."""
    import torch

    import duet.torch as D

    torch.manual_seed(0)
    a, v = (torch.nn.functional.normalize(torch.randn(N, 8)) for _ in range(2))
    tracked = a.clone().requires_grad_()
    labels = torch.arange(N) % 3
    ones = torch.ones(N)

    def empty(x, y, metric):
        return torch.empty((N, N))

    def empty_backward(x, y, grad, metric):
        return torch.empty((N, 8)), torch.empty((N, 8))

    floor = torch.library.custom_op("duet_floor::forward", empty, mutates_args=(), device_types=("cpu", "cuda"),
                                    schema="(Tensor x, Tensor y, int metric) -> Tensor")
    back = torch.library.custom_op("duet_floor::backward", empty_backward, mutates_args=(),
                                   device_types=("cpu", "cuda"),
                                   schema="(Tensor x, Tensor y, Tensor grad, int metric) -> (Tensor, Tensor)")

    def setup(ctx, inputs, output):
        x, y, ctx.metric = inputs
        ctx.save_for_backward(x, y, output)

    def gradient(ctx, grad):
        x, y, _ = ctx.saved_tensors
        return (*back(x, y, grad, ctx.metric), None)

    floor.register_autograd(gradient, setup_context=setup)
    operators = {
        "distance": (lambda a: D.distance(a, v), (torch.ones(N, N),)),
        "unit_rows": (lambda a: D.unit_rows(a), (torch.ones(N, 8),)),
        "contrastive": (lambda a: D.contrastive(a, v), (ones, ones)),
        "distillation": (lambda a: D.distillation(a, v, v, v), (ones, ones)),
        "alignment": (lambda a: D.alignment(a, v), (ones, ones)),
        "cross_entropy": (lambda a: D.cross_entropy(a, v), (ones,)),
        "triplet": (lambda a: D.triplet(a, v, labels, labels), (torch.ones(()),)),
        "PyTorch's custom_op, empty": (lambda a: floor(a, v, 1), (torch.ones(N, N),)),
        "PyTorch's a * v": (lambda a: a * v, (torch.ones(N, 8),)),
    }

    def both(call, grads):
        return lambda: torch.autograd.grad(call(tracked), tracked, grads)

    return {name: (lambda call=call: call(a), lambda call=call: call(tracked), both(call, grads))
            for name, (call, grads) in operators.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=2000, help="calls whose median is taken")
    parser.add_argument("--numpy", action="store_true", help="without PyTorch")
    arguments = parser.parse_args()
    numpy_calls, torch_calls = of_numpy(), {} if arguments.numpy else of_torch()
    clock = Clock()
    print("| NumPy | beyond C [us] | C [us] |\n| --- | ---: | ---: |")
    for name, call in numpy_calls.items():
        beyond, within = clock.overhead(call, arguments.calls)
        print(f"| {name} | {beyond:.1f} | {within:.1f} |")
    if torch_calls:
        print("\n| PyTorch, beyond C [us] | no gradient | forward | forward and backward |")
        print("| --- | ---: | ---: | ---: |")
    for name, calls in torch_calls.items():
        print(f"| {name} | " + " | ".join(f"{clock.overhead(each, arguments.calls)[0]:.1f}" for each in calls) + " |")


main()
