"""train, load, embed, search: the program called from Python."""
import json
import re
from pathlib import Path

import numpy as np
import pytest
from conftest import DEVICE

import duet

pytestmark = pytest.mark.skipif(DEVICE != "cpu", reason="the program is a build of its own")
PROJECT = Path(__file__).resolve().parents[2]


def arrays(rng, rows):
    """Two modalities, each of which tells one of three classes."""
    labels = rng.integers(0, 3, rows)
    of_class = np.random.default_rng(4)
    return {name: of_class.standard_normal((3, width))[labels] + 0.3 * rng.standard_normal((rows, width))
            for name, width in (("audio", 12), ("visual", 9))} | {"labels": labels}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    rng = np.random.default_rng(3)
    data = {"train": arrays(rng, 120), "test": arrays(rng, 40)}
    folder = tmp_path_factory.mktemp("runs") / "run"
    run = duet.train(folder, data, method="psd", labels=0.5, epochs=40, hidden_units=[16], batch_size=32,
                     progress=False)
    return run, data


def test_train_and_load(trained):
    run, data = trained
    assert run.modalities == ("audio", "visual")
    assert run.config["method"] == "psd" and run.config["epochs"] == 40
    again = duet.load(run.path)
    embeddings = again.embed(data["test"]["audio"], "audio")
    assert embeddings.dtype == np.float32 and embeddings.shape[0] == 40
    assert np.allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-6)
    assert np.array_equal(embeddings, run.embed(data["test"]["audio"], "audio"))
    assert (run.path / "model.safetensors").exists() and "Run" in repr(run)


def test_search_is_that_of_the_embeddings(trained):
    run, data = trained
    audio, visual = data["test"]["audio"], data["test"]["visual"]
    found = run.search(audio, visual, source="audio", target="visual", top=3)
    expected = duet.top_k(run.embed(audio, "audio"), run.embed(visual, "visual"), 3)
    assert np.array_equal(found.indices, expected.indices) and found.indices.shape == (40, 3)


def test_measures_are_those_of_the_run(trained):
    """duet.evaluate of the embeddings gives what the program wrote of the test split."""
    run, data = trained
    lines = [json.loads(each) for each in (run.path / "metrics.jsonl").read_text().splitlines()]
    written = next(each["map"] for each in reversed(lines) if each.get("split") == "test")
    measured = duet.evaluate(run.embed(data["test"]["audio"], "audio"), run.embed(data["test"]["visual"], "visual"),
                             data["test"]["labels"])
    assert written["mean"] > 0.6  # chance is about a third
    for way, value in written.items():
        assert abs(value - getattr(measured[way], "map")) <= 1e-6  # means of float32 values


@pytest.mark.parametrize("call, error, text", [
    (lambda run: run.embed(np.zeros((2, 12)), "video"), ValueError,
     "^modality: expected one of audio, visual, got 'video'"),
    (lambda run: run.embed(np.zeros((2, 5)), "audio"), (ValueError, duet.DuetError), "audio"),
    (lambda run: run.embed(np.full((2, 12), np.nan), "audio"), (ValueError, duet.DuetError), "audio"),
    (lambda run: duet.load(run.path / "nothing"), ValueError, "expected the folder of a run"),
    (lambda run: duet.train(run.path, progress=False), ValueError, "run"),
    (lambda run: duet.train(run.path.parent / "other", epochs=-1, progress=False), ValueError, "epochs"),
    (lambda run: duet.train(run.path.parent / "other", colour=1, progress=False), ValueError, "colour"),
    (lambda run: duet.train(run.path.parent / "other", {"dev": {}}, progress=False), ValueError,
     "^data: expected splits"),
    (lambda run: duet.train(run.path.parent / "other", "/no/such/folder", progress=False), (ValueError, duet.DuetError),
     "/no/such/folder"),
])
def test_refused(trained, call, error, text):
    with pytest.raises(error, match=text):
        call(trained[0])
    assert [each.name for each in sorted(trained[0].path.parent.iterdir())] == ["run", "run.data"]


def test_code_of_the_pages(capsys):
    """As it stands; what needs PyTorch is in tests/torch, other languages in tests/trainer/pages_test.cpp."""
    pages = [*PROJECT.glob("*.md"), *PROJECT.glob("*/README.md"), *PROJECT.glob("docs/*.md")]
    found = [(page, block) for page in pages
             for block in re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL)]
    blocks = [each for each in found if "torch" not in each[1]]
    assert len(blocks) >= 2
    for page, block in blocks:
        exec(compile(block, str(page), "exec"), {})
        assert capsys.readouterr().out.strip(), page
