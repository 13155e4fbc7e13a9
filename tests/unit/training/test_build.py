"""From a job's spec to a trainer; what cannot be trained is refused with the field's name."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from llmtrain_jobs.errors import StageError
from llmtrain_jobs.training.build import Job, build, device_of
from llmtrain_jobs.training.dataset import fetch, open_sources
from llmtrain_jobs.training.loop import Trainer
from llmtrain_jobs.training.refusals import (
    check_compiler,
    check_training,
    expected_save,
    experimental,
    processes_of,
    write_speed,
)

from llmtrain.api.job import JobSpec
from llmtrain.api.stageconfig import FailureClass
from tests.unit.training.harness import Heard, listener, store_in, weights

DATA, KEY, OTHER = "d" * 16, "a" * 16, "b" * 16
SMALL = {"architecture": {"layers": 2, "heads": 2, "embedding": 16}, "contextLength": 16}


def spec_of(model: dict[str, Any] | None = None, **training: Any) -> JobSpec:
    cluster = {"planRef": {"name": "cpu"}}
    fields = {
        "cluster": cluster,
        "tokens": 512,
        "globalBatchTokens": 64,
        "checkpoint": {"interval": {"steps": 3}},
    } | training
    return JobSpec.model_validate({
        "storage": {"persistentVolumeClaim": {"claimName": "llm"}},
        "curation": {"cluster": cluster, "sources": [{"name": "web", "path": "x"}], "tokenizer": {"train": {"vocabularySize": 300}}},
        "model": model or SMALL, "training": fields,
    })  # fmt: skip


def job_in(
    folder: Path, spec: JobSpec, key: str = KEY, vocabulary: int = 64, largest: int = 63, size: int = 900
) -> Job:
    store = store_in(folder)
    random = np.random.default_rng(1)
    files: dict[str, Path | bytes] = {
        f"train/{name}/00000.bin": random.integers(0, largest + 1, size).astype("<u2").tobytes()
        for name in ("books", "web")
    }
    files["validation/00000.bin"] = random.integers(0, largest + 1, 16 * 20 + 1).astype("<u2").tobytes()
    store.complete("curation", DATA, files, {"vocabulary_size": vocabulary, "dtype": "uint16", "end_of_text": 0})
    return Job(spec, store, DATA, key, local=folder / "local")


def built(job: Job) -> Trainer:
    return build(job, torch.device("cpu"), 1, Heard(job.store), lambda: False)


def refused(job: Job) -> str:
    with pytest.raises(StageError) as error:
        built(job)
    assert error.value.failure is FailureClass.BAD_INPUT
    return error.value.message


def test_a_job_trains_to_its_last_token_with_all_the_trimmings(tmp_path: Path) -> None:
    """Ramps, phases with mixtures and an anneal, document masks, recomputation, chunks, z-loss, Muon."""
    spec = spec_of(
        phases=[{"name": "main", "tokens": 384, "mixture": [{"source": "web", "weight": "3"}, {"source": "books", "weight": "1"}]},
                {"name": "anneal", "tokens": 128, "anneal": "Linear"}],
        batchRamp=[{"fromTokens": 128, "globalBatchTokens": 128}], sequenceRamp=[{"fromTokens": 0, "length": 8}],
        packing="DocumentMasked", compute={"recompute": "Full", "lossChunkTokens": 16, "zLoss": "1e-4"},
        optimizer={"name": "Muon"},
    )  # fmt: skip
    made = built(job_in(tmp_path, spec))
    assert made.run()
    assert made.parts.timeline.tokens_before(made.step) == 512
    # 6 + 4 x 8 windows... of which the first phase drew three quarters from `web`, by its own count.
    assert sum(made.parts.stream.cursors.drawn) == 512 // 16


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"phases": [{"name": "a", "tokens": 512, "mixture": [{"source": "wiki", "weight": "1"}]}]},
         "`training.phases[0].mixture`: there is no source `wiki`; there are books, web"),
        ({"phases": [{"name": "a", "tokens": 500}]}, "add up to 500, `training.tokens` is 512"),
        ({"globalBatchTokens": 60}, "60 / `model.contextLength` 16 leaves 12"),
        ({"batchRamp": [{"fromTokens": 64, "globalBatchTokens": 40}]}, "`training.batchRamp[0].globalBatchTokens`: 40 /"),
        ({"sequenceRamp": [{"fromTokens": 0, "length": 12}]}, "16 / 12 leaves 4"),
        ({"continueFrom": {"artifact": OTHER}}, f"`{OTHER}` has no complete checkpoint"),
        ({"parallelism": {"tensor": 2}}, "1 processes are no multiple of tensor 2"),
    ],
)  # fmt: skip
def test_a_spec_that_cannot_be_trained_is_refused(tmp_path: Path, training: dict[str, Any], message: str) -> None:
    assert message in refused(job_in(tmp_path, spec_of(**training)))


def test_what_is_experimental_is_said_before_it_is_paid_for() -> None:
    assert experimental(spec_of().training) == []
    assert experimental(spec_of(parallelism={"context": 2}).training) == [
        "`training.parallelism.context` 2 is experimental"
    ]


def test_shards_of_another_tokenizer_are_refused(tmp_path: Path) -> None:
    assert "beyond the model's vocabulary of 64; the shards were made with another tokenizer" in refused(
        job_in(tmp_path, spec_of(), largest=200)
    )


def test_shards_shorter_than_a_sequence_are_refused(tmp_path: Path) -> None:
    assert "a sequence needs 17 tokens, its longest shard has 16" in refused(job_in(tmp_path, spec_of(), size=16))


def test_one_source_that_is_too_short_among_others_is_said_and_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shards = {"web": [tmp_path / "web.bin"], "note": [tmp_path / "note.bin"]}
    for (file,), size in zip(shards.values(), (100, 5), strict=True):
        np.ones(size, dtype="<u2").tofile(file)
    assert [source.name for source in open_sources(shards, "uint16", 16, 1, 64)] == ["web"]
    assert "source `note`: a sequence needs 17 tokens, its longest shard has 5" in capsys.readouterr().out


def test_another_trainings_weights_are_taken_over(tmp_path: Path) -> None:
    first = built(job_in(tmp_path, spec_of(), key=OTHER))
    first.run()
    for state, prefixes in (("Weights", ("model/",)), ("WeightsAndOptimizer", ("model/", "optimizer/"))):
        second = built(job_in(tmp_path, spec_of(continueFrom={"artifact": OTHER, "state": state})))
        assert second.step == 0
        same = {n for n, value in weights(second).items() if torch.equal(value, weights(first)[n])}
        assert {n for n in weights(first) if n.startswith(prefixes)} <= same
        assert ("optimizer/norm.weight/exp_avg" in same) == (len(prefixes) == 2)


def test_weights_of_another_shape_are_refused_by_name(tmp_path: Path) -> None:
    built(job_in(tmp_path, spec_of(), key=OTHER)).run()
    wide = {"architecture": {"layers": 2, "heads": 2, "embedding": 32}, "contextLength": 16}
    assert "is (64, 16) there and (64, 32) here" in refused(
        job_in(tmp_path, spec_of(wide, continueFrom={"artifact": OTHER}))
    )


def test_a_pod_that_pays_for_an_accelerator_never_trains_on_its_cpu() -> None:
    cluster = {"planRef": {"name": "h100"}, "workers": {"replicas": 2, "acceleratorsPerWorker": 4}}
    paid = spec_of(cluster=cluster, globalBatchTokens=128).training
    with pytest.raises(StageError, match=r"request 4 accelerators each, .* no CUDA .*`training.device: Cpu`"):
        device_of(paid, 0)
    assert processes_of(paid) == 8
    meant = spec_of(cluster=cluster, globalBatchTokens=128, device="Cpu").training
    assert device_of(meant, 0).type == "cpu"
    assert processes_of(meant) == 2


def test_preflight_refuses_a_mesh_before_anything_is_paid_for() -> None:
    cluster = {"planRef": {"name": "h100"}, "workers": {"replicas": 2, "acceleratorsPerWorker": 4}}
    with pytest.raises(StageError, match="needs untied embeddings"):
        check_training(spec_of(cluster=cluster, globalBatchTokens=128, parallelism={"tensor": 2}))
    with pytest.raises(StageError, match=r"`training.optimizer.warmupTokens` 600: above 512"):
        check_training(spec_of(cluster=cluster, globalBatchTokens=128, optimizer={"warmupTokens": 600}))
    check_training(spec_of(cluster=cluster, globalBatchTokens=128))


@pytest.mark.parametrize(("accelerators", "compiler"), [(0, "g++"), (8, "gcc")])
def test_preflight_refuses_to_compile_where_there_is_no_compiler(
    tmp_path: Path, accelerators: int, compiler: str
) -> None:
    cluster = {"planRef": {"name": "x"}, "workers": {"replicas": 1, "acceleratorsPerWorker": accelerators}}
    training = spec_of(cluster=cluster, compute={"compile": True}).training
    path = {"PATH": str(tmp_path)}
    with pytest.raises(StageError, match=f"`training.compute.compile`: the image has no compiler .*{compiler}"):
        check_compiler(training, path)
    found = tmp_path / compiler
    found.touch(0o755)
    check_compiler(training, path)
    check_compiler(training, {"PATH": "", "CXX": str(found), "CC": str(found)})
    check_compiler(spec_of(cluster=cluster).training, {"PATH": ""})


def test_the_time_of_a_save_is_held_against_the_grace_period(tmp_path: Path) -> None:
    """GPT-2: 124,439,808 parameters x 12 bytes / 2 processes at 10 MB/s = 74.7 s."""
    model = check_training(spec_of({"preset": "gpt2", "contextLength": 1024}, tokens=4096, globalBatchTokens=1024))
    vocabulary = (50257 - 300) * 768
    save = expected_save(model, 2, 10e6, 50.0)
    assert save.expected == pytest.approx((124_439_808 - vocabulary) * 12 / 2 / 10e6)
    assert "expected to take 52 s, a stop leaves 50 s" in save.warning
    assert expected_save(model, 8, 10e6, 50.0).warning == ""
    assert write_speed(store_in(tmp_path), "probe/x") > 0
    assert not (tmp_path / "probe" / "x").exists()


def test_held_out_loss_is_torchs_over_the_same_windows(tmp_path: Path) -> None:
    job = job_in(tmp_path, spec_of(evaluateEveryTokens=256))
    made = built(job)
    assert made.run()
    assert [step for step, _ in listener(made).evaluations] == [4, 8]
    data = np.frombuffer(job.store.read(f"artifacts/curation/{DATA}/validation/00000.bin"), dtype="<u2").astype(
        np.int64
    )
    windows = torch.from_numpy(np.stack([data[s : s + 17] for s in range(0, 320, 16)]))
    model = made.parts.engine.modules[0].get_submodule("model").eval()
    expected = torch.nn.functional.cross_entropy(model(windows[:, :-1]).flatten(0, 1), windows[:, 1:].flatten())
    assert listener(made).evaluations[-1][1] == pytest.approx(expected.item(), rel=1e-5)


def test_held_out_text_is_fetched_where_it_is_asked_for(tmp_path: Path) -> None:
    """It may be gigabytes, for each pod."""
    for tokens, split in ((0, ["train"]), (256, ["train", "validation"])):
        job = replace(job_in(tmp_path, spec_of(evaluateEveryTokens=tokens)), local=tmp_path / str(tokens))
        assert (built(job).parts.held_out is None) == (tokens == 0)
        assert sorted(path.name for path in (job.local / DATA).iterdir() if path.is_dir()) == split


def test_held_out_loss_is_told_of_the_end_whatever_the_interval(tmp_path: Path) -> None:
    made = built(job_in(tmp_path, spec_of(evaluateEveryTokens=192)))
    assert made.run()
    assert [step for step, _ in listener(made).evaluations] == [3, 6, 8]


def test_two_processes_of_a_pod_fetch_the_shards_once_and_both_find_them(tmp_path: Path) -> None:
    job = job_in(tmp_path, spec_of())
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: fetch(job.store, DATA, job.manifest, job.local), range(40)))
    assert all(shards == found[0] for shards in found)
    assert {name: [file.stat().st_size for file in files] for name, files in found[0].items()} == {
        "books": [1800],
        "web": [1800],
    }
