"""Volumes that the operator's pods and the CLI's have in common."""

from typing import Any

from llmtrain.api.job import Storage
from llmtrain.api.stageconfig import CA_FILE

Object = dict[str, Any]
NAME = "authorities"


def authority_volumes(storage: Storage) -> list[Object]:
    """The CA bundle as a file, whatever its key is called; none where none is given."""
    bundle = storage.s3.ca_bundle if storage.s3 else None
    if bundle is None:
        return []
    file = CA_FILE.rsplit("/", 1)[1]
    if bundle.secret_key_ref is not None:
        items = [{"key": bundle.secret_key_ref.key, "path": file}]
        return [{"name": NAME, "secret": {"secretName": bundle.secret_key_ref.name, "items": items}}]
    if bundle.config_map_key_ref is not None:
        items = [{"key": bundle.config_map_key_ref.key, "path": file}]
        return [{"name": NAME, "configMap": {"name": bundle.config_map_key_ref.name, "items": items}}]
    return []


def authority_mounts(storage: Storage) -> list[Object]:
    """Where it is mounted."""
    folder = CA_FILE.rsplit("/", 1)[0]
    return [{"name": volume["name"], "mountPath": folder, "readOnly": True} for volume in authority_volumes(storage)]
