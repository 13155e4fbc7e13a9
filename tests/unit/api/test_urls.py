"""What an address of a server may look like: the rule of the CRD and the reader agree."""

import pytest
from pydantic import TypeAdapter

from llmtrain.api.admission import ManifestError
from llmtrain.api.endpoint import Endpoint
from llmtrain.api.job import S3Storage
from llmtrain.api.urls import Server, server_of
from tests.unit.api.parsed import parse_manifest

GOOD = {
    "http://minio:9000": Server("minio", 9000),
    "http://minio.storage.svc": Server("minio.storage.svc", 80),
    "https://s3.example.com/": Server("s3.example.com", 443),
    "https://abc.example.co/storage/v1/s3": Server("abc.example.co", 443),
    "http://10.0.0.7:65535": Server("10.0.0.7", 65535),
    "http://[fd00:10:244::17]:9000/v1": Server("fd00:10:244::17", 9000),
    "http://my_host.:8000": Server("my_host.", 8000),
}
BAD = [
    "http://minio:90000",
    "http://minio:0",
    "http://minio:65536",
    "http://minio:{port}",
    "http://minio:",
    "http://[fd00::17",
    "http://fd00::17",
    "http://",
    "http:///path",
    "http://user:word@minio:9000",
    "http://minio:9000?x=1",
    "http://minio:9000/#a",
    "http://minio :9000",
    "http://-",
    "http://minio:9000\n",
]


@pytest.mark.parametrize("url", GOOD)
def test_a_server_is_read_out_of_its_url(url: str) -> None:
    assert server_of(url) == GOOD[url]
    assert parse_manifest(S3Storage, {"bucket": "llm", "endpointUrl": url}).endpoint_url == url
    assert parse_manifest(Endpoint, {"baseUrl": url, "model": "m"}).base_url == url


@pytest.mark.parametrize("url", BAD)
def test_what_is_no_servers_url_is_refused_by_the_fields_name(url: str) -> None:
    assert server_of(url) is None
    with pytest.raises(ManifestError, match="endpointUrl"):
        parse_manifest(S3Storage, {"bucket": "llm", "endpointUrl": url})
    with pytest.raises(ManifestError, match="baseUrl"):
        parse_manifest(Endpoint, {"baseUrl": url, "model": "m"})


def test_a_stored_value_is_still_read() -> None:
    """The rule holds for what is written anew; a job that is there must parse to be stopped."""
    assert (
        TypeAdapter(S3Storage).validate_python({"bucket": "llm", "endpointUrl": "http://minio:90000"}).bucket == "llm"
    )


def test_no_endpoint_is_aws() -> None:
    assert parse_manifest(S3Storage, {"bucket": "llm"}).endpoint_url == ""
