"""fp8, experimental: the blocks' matrices are multiplied in eight bits by torchao, and what cannot be is refused.

Each operand is scaled by its largest value at every product (e4m3 forwards, e5m2 for gradients). Weights stay parameters
of their own names and type, so that optimizers, checkpoints and exports are what they are without. Embeddings and the
output stay as they are. torch and torchao are imported only to compute: preflight asks here without them.
"""

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from llmtrain.api.training import Precision, Training
from llmtrain.cost.errors import InputError
from llmtrain.cost.tables import chip
from llmtrain_jobs.errors import StageError, bad_input
from llmtrain_jobs.model.config import ModelConfig
from llmtrain_jobs.training.timing import timeline_of

if TYPE_CHECKING:
    import torch
    from torch import nn

MULTIPLE = 16
"""Tensor cores take fp8 in pieces of so many values."""
LEAST_CAPABILITY = (8, 9)
"""Compute capability of Ada, the first with fp8 (CUDA C++ Programming Guide, table of compute capabilities)."""
LIBRARY = "torchao"


def check_fp8(training: Training, model: ModelConfig, accelerators: bool) -> None:
    """Refuse sizes, meshes and devices that fp8 cannot be used with; raises bad_input with the arithmetic."""
    if training.precision is not Precision.FP8_MIXED:
        return
    if not accelerators:
        raise refusal("needs accelerators: set `cluster.workers.acceleratorsPerWorker` and `device: Auto`")
    mesh = training.parallelism
    if mesh.tensor * mesh.pipeline > 1:
        raise refusal("is not tested with `parallelism.tensor` or `parallelism.pipeline` above 1")
    lengths = timeline_of(training, model.context).lengths.values
    sizes = {"embedding": model.embedding, "heads x head width": model.heads * model.width,
             "key-value heads x head width": model.groups * model.width, "feed-forward width": model.feed_forward}  # fmt: skip
    sizes |= {f"tokens of a process, {length} / context {mesh.context} =": length // mesh.context for length in lengths}
    for what, size in sizes.items():
        if size % MULTIPLE:
            raise refusal(f"needs multiples of {MULTIPLE}: {what} {size} / {MULTIPLE} leaves {size % MULTIPLE}")


def check_accelerator(training: Training, product: str | None) -> None:
    """Refuse an accelerator that the table knows to have no fp8; what it does not know, the training process refuses."""
    if training.precision is not Precision.FP8_MIXED:
        return
    if find_spec(LIBRARY) is None:
        raise bad_input(f"`training.precision` Fp8Mixed: the image has no {LIBRARY}; use one built for CUDA", "NoFp8")
    try:
        known = chip(product or "")
    except InputError:
        return
    if not known.fp8:
        raise refusal(
            f"needs an NVIDIA accelerator of compute capability {_text(LEAST_CAPABILITY)} or above (Ada, Hopper, Blackwell), "
            f"the plan has {known.name}; use Bf16Mixed or another plan"
        )


def products_of(device: "torch.device") -> Any:
    """torchao's configuration for products in fp8; raises bad_input where the device has none."""
    import torch

    if device.type != "cuda" or torch.version.hip is not None:
        raise refusal(f"needs an NVIDIA accelerator, and this process computes on `{device.type}`")
    check_capability(torch.cuda.get_device_name(device), torch.cuda.get_device_capability(device))
    from torchao.float8 import Float8LinearConfig

    return Float8LinearConfig()


def check_capability(name: str, capability: tuple[int, int]) -> None:
    """Refuse a device by what it says of itself."""
    if capability < LEAST_CAPABILITY:
        raise refusal(
            f"needs compute capability {_text(LEAST_CAPABILITY)} or above, {name} has {_text(capability)}; use Bf16Mixed"
        )


def multiply_in_fp8(blocks: "nn.Module", products: Any) -> None:
    """Have every linear layer in the blocks multiply as `products` (torchao's Float8LinearConfig) says, in place."""
    from torchao.float8 import convert_to_float8_training

    convert_to_float8_training(blocks, config=products)


def refusal(message: str) -> StageError:
    """Never a silent fall-back: the job ends, and says what to change."""
    return bad_input(f"`training.precision` Fp8Mixed {message}", "NoFp8")


def _text(capability: tuple[int, int]) -> str:
    return ".".join(map(str, capability))
