"""Progressive self-distillation in PyTorch, from docs/METHOD.md section 6, and the same runs by `duet train`."""
import copy
import json
import math
import statistics
import struct
import subprocess
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from on_torch import SortedTriplets, soft_divergence, squared_distances, with_own_pairs

TAU, LOGIT_SCALE = 0.1, 10.0


class Encoder(nn.Module):
    def __init__(self, width, dropout):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(width, 256), nn.Linear(256, 256), nn.Linear(256, 64)])
        self.dropout = dropout

    def forward(self, x):
        for layer in self.layers[:-1]:
            x = F.dropout(F.relu(layer(x)), self.dropout, self.training)
        return F.normalize(self.layers[-1](x), dim=1, eps=1e-12)


class Pair(nn.Module):
    def __init__(self, widths, classes, dropout=0.2):
        super().__init__()
        self.encoder_a, self.encoder_v = (Encoder(width, dropout) for width in widths)
        self.classifier = nn.Linear(64, classes)
        for parameters in self.modules():
            if isinstance(parameters, nn.Linear):
                bound = parameters.in_features**-0.5
                nn.init.uniform_(parameters.weight, -bound, bound)
                nn.init.uniform_(parameters.bias, -bound, bound)

    def forward(self, x_a, x_v):
        a, v = self.encoder_a(x_a), self.encoder_v(x_v)
        return a, v, LOGIT_SCALE * self.classifier(a), LOGIT_SCALE * self.classifier(v)


def masked_mean(values, mask):
    return (values * mask).sum() / mask.sum().clamp(min=1)


def reached_by(x, share):
    """x, whose gradient counts times share."""
    return share * x + (1 - share) * x.detach()


def losses(a, v, logits_a, logits_v, seen, shares, q, trust, kappa, anchor):
    """The terms of a step, from the student's outputs and what the teacher made of the batch (seen: its a', v'; q,
    trust, kappa: 6.4; anchor and shares, g_a and g_v: 6.10)."""
    annotated = (kappa == 1).float()
    cross_entropy = F.cross_entropy(logits_a, q, reduction="none") + F.cross_entropy(logits_v, q, reduction="none")
    together = q @ q.T
    positive = with_own_pairs(together * trust, 1.0)
    negative = with_own_pairs((1 - together) * trust, 0.0)
    D = squared_distances(a, v)
    scores, teacher_scores = a @ v.T / TAU, seen[0] @ seen[1].T / TAU
    agreement = positive / positive.sum(1, keepdim=True)
    own = torch.arange(len(a), device=a.device)
    pairs = reached_by(a, shares[0]) @ reached_by(v, shares[1]).T / TAU
    each_pair = F.cross_entropy(pairs, own, reduction="none") + F.cross_entropy(pairs.T, own, reduction="none")
    return {
        "label": masked_mean(cross_entropy, annotated),
        "soft": masked_mean(trust * cross_entropy, 1 - annotated),
        "cross": SortedTriplets.apply(D, positive, negative, trust)
        + SortedTriplets.apply(D.T.contiguous(), positive, negative, trust),
        "kl": 0.5
        * (
            (trust * soft_divergence(scores, teacher_scores, agreement, kappa, 1)).mean()
            + (trust * soft_divergence(scores.T, teacher_scores.T, agreement, kappa, 1)).mean()
        ),
        "pair": 0.5 * (anchor * each_pair).mean(),
    }


NO_EVIDENCE = {"unread": 1.0, "pairs_generalise": 0.0, "gradient_share": {"audio": 1.0, "visual": 1.0}}


def evidence_of(run):
    """METHOD.md 6.9 as a run of duet measured it: a few milliseconds of work once a run, which the other side is
    spared."""
    return json.loads((Path(run) / "evidence.json").read_text())


class Trainer:
    def __init__(
        self,
        model,
        labels,
        classes,
        epochs,
        evidence=NO_EVIDENCE,
        hide=True,
        momentum=0.95,
        optimizer=None,
        compiles=False,
    ):
        self.model, self.teacher = model, copy.deepcopy(model).eval().requires_grad_(False)
        self.labels, self.epochs, self.hide, self.momentum = labels, epochs, hide, momentum
        self.optimizer = optimizer or torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=1e-3)
        if compiles:
            self.loss = torch.compile(self.loss, dynamic=False)
        known = labels[labels >= 0]
        self.prior = known.bincount(minlength=classes) / len(known)
        self.unread, self.rest = evidence["unread"], 1 - evidence["pairs_generalise"]
        self.shares = [evidence["gradient_share"][name] for name in ("audio", "visual")]
        self.predicted = torch.full((classes,), 1 / classes, device=labels.device)
        self.concord = torch.zeros((), device=labels.device)

    def start_epoch(self, epoch):
        fall = (1 + math.cos(math.pi * min(1, epoch / (0.6 * self.epochs)))) / 2
        self.ratio, self.rho = 0.3 + 0.7 * fall, min(1, epoch / (0.3 * self.epochs))

    @torch.no_grad()
    def supervise(self, labels, logits_a, logits_v):
        labelled = labels >= 0
        annotated = labelled & (torch.rand(len(labels), device=labels.device) < self.ratio) if self.hide else labelled
        p = F.softmax((logits_a + logits_v) / 2, 1)
        self.predicted.lerp_(p.mean(0), 0.05)
        lift = (self.prior / self.predicted).clamp(max=100)
        q = torch.where(
            annotated[:, None], F.one_hot(labels.clamp(min=0), p.shape[1]).float(), F.normalize(p * lift, p=1, dim=1)
        )
        agree = ((F.softmax(logits_a, 1) * lift).argmax(1) == (F.softmax(logits_v, 1) * lift).argmax(1)).float()
        # By masks: a step on a GPU whose host looks at a number waits for it.
        agreed = torch.where(labelled.all(), self.concord, masked_mean(agree, (~labelled).float()))
        self.concord.lerp_(agreed, 0.05)
        return (
            q,
            torch.where(annotated, 1.0, agree),
            torch.where(annotated, 1.0, 0.5),
            torch.where(labelled, self.unread**2, 1.0),
        )

    def loss(self, x_a, x_v, labels):
        outputs = self.model(x_a, x_v)
        with torch.no_grad():
            *seen, logits_a, logits_v = self.teacher(x_a, x_v)
        terms = losses(*outputs, seen, self.shares, *self.supervise(labels, logits_a, logits_v))
        of_pairs = (1 + 2 * self.unread) * ((1 - self.concord) + self.rest**2 * self.concord**8)
        return (
            terms["label"] + terms["cross"] + 0.5 * self.rho * (terms["kl"] + terms["soft"]) + of_pairs * terms["pair"],
            terms,
        )

    def step(self, x_a, x_v, labels):
        self.model.train()
        loss, terms = self.loss(x_a, x_v, labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(list(self.teacher.parameters()), list(self.model.parameters()), 1 - self.momentum)
        return terms


def scaled(train, *others):
    """zscore of METHOD.md 6, by the training split's statistics."""
    train = torch.from_numpy(np.ascontiguousarray(train, np.float32))
    mean, std = train.mean(0), train.std(0) + 1e-4
    return [
        ((torch.as_tensor(np.ascontiguousarray(x, np.float32)) - mean) / std).clamp(-5, 5) for x in (train, *others)
    ]


def mean_average_precision(queries, gallery, labels):
    relevant = (labels[(queries @ gallery.T).argsort(1, descending=True)] == labels[:, None]).float()
    at = relevant.cumsum(1) / torch.arange(1, len(labels) + 1)
    return ((at * relevant).sum(1) / relevant.sum(1)).mean().item()


def read(folder, split, name):
    return np.load(Path(folder) / split / (name + ".npy"))


def train_on_torch(folder, share, epochs, evidence, seed=0, batch=128):
    """The whole run, from files to the score: MAP, mean of both directions."""
    torch.manual_seed(seed)
    x_a, test_a = scaled(read(folder, "train", "audio"), read(folder, "test", "audio"))
    x_v, test_v = scaled(read(folder, "train", "visual"), read(folder, "test", "visual"))
    truth = torch.from_numpy(read(folder, "train", "labels").astype(np.int64))
    test_labels = torch.from_numpy(read(folder, "test", "labels").astype(np.int64))
    labels, classes = torch.full_like(truth, -1), int(truth.max()) + 1
    for c in range(classes):
        members = (truth == c).nonzero().flatten()
        kept = members[torch.randperm(len(members))[: max(1, round(share * len(members)))]]
        labels[kept] = c
    trainer = Trainer(Pair((x_a.shape[1], x_v.shape[1]), classes), labels, classes, epochs, evidence)
    for epoch in range(epochs):
        trainer.start_epoch(epoch)
        for rows in torch.randperm(len(labels)).split(batch):
            if len(rows) >= 8:
                trainer.step(x_a[rows], x_v[rows], labels[rows])
    with torch.no_grad():
        a, v, *_ = trainer.teacher(test_a, test_v)
    return (mean_average_precision(a, v, test_labels) + mean_average_precision(v, a, test_labels)) / 2


def write_pairs(folder, rows, widths, classes, unlabelled, seed=0):
    """A data set of the given shape whose two modalities share a class's centre."""
    rng = np.random.default_rng(seed)
    for split, count in (("train", rows), ("test", 64)):
        path = Path(folder) / split
        path.mkdir(parents=True)
        labels = rng.integers(0, classes, count)
        for name, width in zip(("audio", "visual"), widths):
            centres = np.random.default_rng(width).standard_normal((classes, width))
            np.save(
                path / (name + ".npy"), (centres[labels] + 2 * rng.standard_normal((count, width))).astype(np.float32)
            )
        if split == "train":
            labels[rng.random(count) < unlabelled] = -1
        np.save(path / "labels.npy", labels.astype(np.int64))


def in_row_order(source, folder):
    """A copy whose arrays lie row after row, float32, as duet reads them."""
    for split in ("train", "test"):
        (folder / split).mkdir(parents=True)
        for name in ("audio", "visual"):
            np.save(folder / split / (name + ".npy"), np.ascontiguousarray(read(source, split, name), np.float32))
        np.save(folder / split / "labels.npy", read(source, split, "labels").astype(np.int64))
    return folder


def train_on_duet(program, folder, run, threads, device="cpu", **config):
    """On a device other than the CPU with products in fp32, where a check holds it to PyTorch's."""
    settings = {"scaling_a": "zscore", "scaling_v": "zscore", "evaluate_every_epochs": 0, **config}
    start = time.perf_counter()
    where = ("--data", folder, "--modalities", "audio,visual", "--run", run)
    how = ("--threads", str(threads), "--device", device, "--precision", "fp32")
    sets = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    done = subprocess.run([program, "train", *where, *how, *sets], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip() or done.stdout.strip())
    seconds = time.perf_counter() - start
    return seconds, [json.loads(line) for line in open(Path(run) / "metrics.jsonl")]


def parameters_of(run):
    """model.safetensors: a length, a JSON header, the numbers."""
    data = (Path(run) / "model.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    out = {}
    for name, entry in header.items():
        if name.split(".")[0] in ("encoder_a", "encoder_v", "classifier"):
            first, last = entry["data_offsets"]
            values = np.frombuffer(data[8 + length + first : 8 + length + last], np.float32).reshape(entry["shape"])
            out[name.replace(".layer", ".layers.")] = torch.from_numpy(values.copy())
    return out


def check(program, scratch, device="cpu", torch_device="cpu"):
    """Two steps without chance (no dropout, nothing hidden) on one batch, by plain gradient descent: the losses of the
    second, and what it moved, which is its gradient. "" where both sides agree to 1e-4. device: duet's."""
    rate, folder = 0.1, Path(scratch) / "check"
    # A draw whose evidence lets V feel 0.87 of the pair term, and where no unit or triplet stands so near its edge that
    # rounding decides.
    write_pairs(folder, 96, (40, 56), 5, 0.5, seed=7)
    fixed = dict(
        batch_size=96,
        epochs=2,
        dropout=0,
        hide_labels="false",
        optimizer="sgd",
        momentum=0,
        weight_decay=0,
        learning_rate=rate,
        log_every_steps=1,
        device=device,
    )
    train_on_duet(program, folder, folder / "start", 1, steps=1, teacher_momentum=1, **fixed)
    train_on_duet(program, folder, folder / "one", 1, steps=1, teacher_momentum=0, **fixed)
    _, lines = train_on_duet(program, folder, folder / "two", 1, steps=2, teacher_momentum=0, **fixed)
    expected = next(line for line in lines if line.get("step") == 2 and "loss_cross" in line)
    model = Pair((40, 56), 5, dropout=0)
    model.load_state_dict(parameters_of(folder / "start"))
    model.to(torch_device)
    labels = torch.from_numpy(read(folder, "train", "labels"))
    (x_a,), (x_v,) = scaled(read(folder, "train", "audio")), scaled(read(folder, "train", "visual"))
    x_a, x_v, labels = (each.to(torch_device) for each in (x_a, x_v, labels))
    trainer = Trainer(
        model,
        labels,
        5,
        2,
        evidence_of(folder / "two"),
        hide=False,
        momentum=0,
        optimizer=torch.optim.SGD(model.parameters(), rate),
    )
    for epoch in range(2):
        before = [p.detach().clone() for p in model.parameters()]
        trainer.start_epoch(epoch)
        terms = trainer.step(x_a, x_v, labels)
    for name, term in terms.items():
        if not abs(term.item() - expected["loss_" + name]) <= 1e-4 * max(1, abs(term.item())):
            return f"loss_{name}: {term.item():.6f} there, {expected['loss_' + name]:.6f} here"
    one, two = parameters_of(folder / "one"), parameters_of(folder / "two")
    for (name, p), start in zip(model.named_parameters(), before):
        ours, theirs = two[name] - one[name], (p.detach() - start).cpu()
        gap = (ours - theirs).abs().max() / theirs.abs().max()
        if not gap <= 1e-4:
            return f"gradient of {name} differs by {gap:.1e}"
    return ""


def step_time_on_torch(folder, classes, batch, steps, compiles):
    (x_a,), (x_v,) = scaled(read(folder, "train", "audio")), scaled(read(folder, "train", "visual"))
    labels = torch.from_numpy(read(folder, "train", "labels"))
    trainer = Trainer(Pair((x_a.shape[1], x_v.shape[1]), classes), labels, classes, 10, compiles=compiles)
    trainer.start_epoch(4)  # every term weighs by then
    samples, warming = [], 5
    while len(samples) < warming + steps:
        for rows in torch.randperm(len(labels)).split(batch):
            if len(rows) == batch:
                start = time.perf_counter()
                trainer.step(x_a[rows], x_v[rows], labels[rows])
                samples.append(time.perf_counter() - start)
    return {"median_s": statistics.median(samples[warming:])}


def step_time_on_duet(program, folder, run, batch, threads):
    """Epochs of a run without evaluation, the first left out; the model's file, written once an epoch, is part of
    it."""
    _, lines = train_on_duet(program, folder, run, threads, batch_size=batch, epochs=7, smallest_batch=batch)
    ends = [(line["step"], line["seconds"]) for line in lines if "seconds" in line]
    return {"median_s": statistics.median((s1 - s0) / (k1 - k0) for (k0, s0), (k1, s1) in zip(ends, ends[1:]))}


def run_on_duet(program, folder, run, threads, share, epochs):
    seconds, lines = train_on_duet(program, folder, run, threads, labels=share, epochs=epochs)
    return {"median_s": seconds, "map": next(line["map"]["mean"] for line in reversed(lines) if "map" in line)}


def run_on_torch(folder, share, epochs, evidence):
    start = time.perf_counter()
    score = train_on_torch(folder, share, epochs, evidence)
    return {"median_s": time.perf_counter() - start, "map": score}
