"""What the apiserver meant when it refused a pod: one word, and the resource that is missing."""

import re

QUOTA = re.compile(r"exceeded quota: (?P<quota>[^,]+), requested: (?P<requested>\S+)")
INSUFFICIENT = re.compile(r"Insufficient ([a-zA-Z0-9./_-]+?)[.,;]?(?:\s|$)")
REASONS = (
    ("exceeded quota", "QuotaExceeded"),
    ("violates PodSecurity", "PodSecurityRefused"),
    ("is not of this job", "NameTaken"),
    ("minimum", "LimitRangeRefused"),
    ("maximum", "LimitRangeRefused"),
    ("ValidatingAdmissionPolicy", "PolicyRefused"),
    ("admission webhook", "WebhookRefused"),
)


def reason_of(message: str) -> str:
    """The refusal in one word."""
    return next((word for text, word in REASONS if text in message), "CreateRefused")


def quota_resource(message: str) -> str:
    """The resource whose quota is used up; empty where the message is about something else."""
    found = QUOTA.search(message)
    if not found:
        return ""
    names = [part.split("=")[0].removeprefix("requests.").removeprefix("limits.") for part in _split(found)]
    return ", ".join(dict.fromkeys(names))


def _split(found: "re.Match[str]") -> list[str]:
    return found["requested"].rstrip(",").split(",")


def insufficient(message: str) -> str:
    """The resources that no node has enough of, as the scheduler names them."""
    return ", ".join(dict.fromkeys(INSUFFICIENT.findall(message)))
