"""Names of parameters, whatever wraps the model: checkpoints and decay groups must not depend on the mesh."""

WRAPPERS = ("module", "_orig_mod", "_checkpoint_wrapped_module")


def clean(name: str) -> str:
    """`module.model.blocks.0._orig_mod.x` -> `blocks.0.x`: the name within the bare transformer."""
    parts = [part for part in name.split(".") if part not in WRAPPERS]
    return ".".join(parts[1:] if parts[0] == "model" else parts)
