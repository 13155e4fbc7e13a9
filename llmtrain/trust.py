"""Certificate authorities that a job brings along, beside those of its image."""

import os
from pathlib import Path

FILE_VARIABLE = "SSL_CERT_FILE"
VARIABLES = (FILE_VARIABLE, "REQUESTS_CA_BUNDLE")
"""What OpenSSL and with it Python and httpx look at, and what `requests` does."""
SYSTEM = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")


def trust(bundle: Path, folder: Path) -> None:
    """This process and its children trust `bundle` and what they trusted before; nothing where there is no bundle.

    A job's storage may have a private authority and its judge a public one: the environment names one file with both,
    in `folder`. OSError where it cannot be written.
    """
    if not bundle.is_file():
        return
    before = next((Path(file) for file in (os.environ.get(FILE_VARIABLE, ""), *SYSTEM) if Path(file).is_file()), None)
    folder.mkdir(parents=True, exist_ok=True)
    both = folder / "authorities.crt"
    both.write_bytes(b"\n".join(file.read_bytes() for file in (before, bundle) if file is not None))
    os.environ |= dict.fromkeys(VARIABLES, str(both))


def authorities() -> str | None:
    """The file with the authorities that the environment names; None: each library's own."""
    file = os.environ.get(FILE_VARIABLE, "")
    return file if Path(file).is_file() else None
