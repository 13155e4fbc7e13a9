"""From a folder with a Hugging Face model (config.json, safetensors, tokenizer.json) to ours."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

from llmtrain.api.model import PositionKind
from llmtrain_jobs.curation.tokens import table_size
from llmtrain_jobs.errors import StageError, bad_input
from llmtrain_jobs.model.config import ModelConfig, check
from llmtrain_jobs.model.huggingface.convert import to_ours, understood
from llmtrain_jobs.model.huggingface.family import FIELDS
from llmtrain_jobs.model.huggingface.reading import parsed
from llmtrain_jobs.model.transformer import Transformer
from llmtrain_jobs.model.weights import check_finite, read_weights

TRAINING_ONLY = {"dropout", "initialization", "initial_std", "context", "vocabulary"}
"""What does not change what the weights mean; the context does where positions are learned, the vocabulary where it grows."""
CONFIG, ADAPTER = "config.json", "adapter_config.json"
POSITIONS = "embedding.positions.weight"
BY_TOKEN = ("embedding.tokens.weight", "output.weight")
"""What has a row for each token."""


@dataclass(frozen=True)
class Imported:
    """A model from elsewhere; `tokenizer` is None where the folder has none."""

    family: str
    config: ModelConfig
    state: dict[str, Tensor]
    tokenizer: Tokenizer | None

    def model(self) -> Transformer:
        """The model with its weights, in evaluation mode."""
        with torch.device("meta"):
            model = Transformer(self.config)
        model.load_state_dict(self.state, assign=True)
        return model.eval()

    def initial_state(self, job: ModelConfig) -> dict[str, Tensor]:
        """First weights of a job that goes on from here; BadInput where its model is another one.

        Rows behind the job's vocabulary stay behind: published embeddings are filled up to a round number.
        """
        check_fits(job, self.config)
        if self.tokenizer is not None and job.vocabulary < table_size(self.tokenizer):
            raise _other_tokenizer(job.vocabulary, table_size(self.tokenizer))
        rows = {name: job.vocabulary for name in BY_TOKEN if name in self.state}
        if job.positions is PositionKind.LEARNED:
            rows[POSITIONS] = job.context
        return self.state | {name: self.state[name][:count].clone() for name, count in rows.items()}


def import_folder(folder: Path) -> Imported:
    """Read a folder; BadInput says what is missing, does not fit or cannot be expressed."""
    try:
        given = parsed((folder / CONFIG).read_bytes(), CONFIG)
    except OSError as error:
        raise bad_input(f"`{folder}` needs a config.json ({error})") from error
    if (folder / ADAPTER).exists():
        raise adapter_beside(ADAPTER)
    family, config = understood(given)
    state = {name: tensor.float() for name, tensor in to_ours(family, config, read_weights(folder)).items()}
    check_finite(state)
    tokenizer = read_tokenizer(folder, config)
    return Imported(family.name, config, state, tokenizer)


def adapter_beside(name: str) -> StageError:
    """The refusal of a folder whose weights are not the whole model."""
    return bad_input(
        f"`{name}`: the model has an adapter beside its weights; merge it into them first", "NotImportable"
    )


def read_tokenizer(folder: Path, config: ModelConfig) -> Tokenizer | None:
    """The tokenizer, if there is one; its entries must have rows in the embedding."""
    file = folder / "tokenizer.json"
    if not file.is_file():
        return None
    tokenizer = Tokenizer.from_file(str(file))
    check_vocabulary(tokenizer, config, str(file))
    return tokenizer


def check_vocabulary(tokenizer: Tokenizer, config: ModelConfig, name: str) -> None:
    """Every token has a row in the embedding."""
    size = table_size(tokenizer)
    if size > config.vocabulary:
        raise bad_input(
            f"`{name}` numbers {size} entries, the model's vocabulary has {config.vocabulary}", "VocabularyMismatch"
        )


def check_shapes(config: ModelConfig, state: Mapping[str, Tensor]) -> None:
    """Every tensor is there and has the shape that the config asks for."""
    check(config)
    with torch.device("meta"):
        expected = Transformer(config).state_dict()
    for name, tensor in expected.items():
        if name not in state:
            raise bad_input(f"weights: `{name}` is missing")
        if state[name].shape != tensor.shape:
            raise bad_input(
                f"weights: `{name}` is {tuple(state[name].shape)}, the config asks for {tuple(tensor.shape)}"
            )


def check_fits(job: ModelConfig, imported: ModelConfig) -> None:
    """The job can go on from imported weights: same architecture, rows for its tokens, positions for its context."""
    if job.vocabulary > imported.vocabulary:
        raise _other_tokenizer(job.vocabulary, imported.vocabulary)
    ours, theirs = _meaning(job), _meaning(imported)
    changed = [name for name in ours if ours[name] != theirs[name]]
    wrong = [f"`{FIELDS.get(name, name)}` is {ours[name]}, imported {theirs[name]}" for name in changed]
    if job.positions is PositionKind.LEARNED and job.context > imported.context:
        wrong.append(f"`contextLength` is {job.context}, but the imported model learned {imported.context} positions")
    if wrong:
        raise bad_input(f"`spec.model` is not the imported model: {'; '.join(wrong)}", "ArchitectureMismatch")


def _other_tokenizer(ours: int, theirs: int) -> StageError:
    return bad_input(
        f"the job's tokenizer has {ours} entries, the imported model {theirs}; "
        "curate with the imported model's tokenizer",
        "VocabularyMismatch",
    )


def _meaning(config: ModelConfig) -> dict[str, object]:
    """What decides how weights are used, with defaults filled in."""
    found = {name: value for name, value in asdict(config).items() if name not in TRAINING_ONLY}
    return found | {"key_value_heads": config.groups, "head_width": config.width}
