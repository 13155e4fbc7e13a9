"""The three resources of group `llmtrain.dev` as pydantic models, and what is generated from them."""

GROUP = "llmtrain.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
