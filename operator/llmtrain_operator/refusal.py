"""What the apiserver meant when it refused a pod: one word, and the resource that is missing.

Each word is told at once. None of them is a failure: nothing is placed by a refused create, so the job waits, and goes on
by itself once the quota has room, the class is there, the webhook answers, or the name is free. What no waiting cures, an
invalid pod or one that the namespace's security does not allow, is told the same way: it ends when somebody changes the
manifest, or what stands against it.
"""

import re
from dataclasses import dataclass

from llmtrain_operator.client import NO_ANSWER
from llmtrain_operator.observation import Refusal

QUOTA = re.compile(r"exceeded quota: (?P<quota>[^,]+), requested: (?P<requested>\S+)")
UNSPECIFIED = re.compile(r"failed quota: [^:]+: must specify (?P<fields>.+)$")
INSUFFICIENT = re.compile(r"Insufficient ([a-zA-Z0-9./_-]+?)[.,;]?(?:\s|$)")


@dataclass(frozen=True)
class Sign:
    """A refusal is known by its code, where one is given, and by words that the apiserver uses for nothing else."""

    reason: str
    words: str
    codes: tuple[int, ...] = ()

    def fits(self, code: int, message: str) -> bool:
        """Whether this is it."""
        return (not self.codes or code in self.codes) and re.search(self.words, message) is not None


SIGNS = (
    Sign("NameTaken", r"is not of this job"),
    Sign("QuotaExceeded", r"exceeded quota: "),
    Sign("QuotaUnspecified", r"failed quota: "),
    Sign("QuotaConflict", r"resourcequotas", (409,)),
    Sign("NamespaceTerminating", r"because it is being terminated"),
    Sign("NamespaceNotFound", r"^namespaces .* not found", (404,)),
    Sign("WebhookUnreachable", r"failed calling webhook"),
    Sign("PolicyRefused", r"ValidatingAdmissionPolicy"),
    Sign("WebhookRefused", r"admission webhook .* denied the request"),
    Sign("PodSecurityRefused", r"violates PodSecurity|unable to validate against any security context constraint"),
    Sign("PriorityClassNotFound", r"no PriorityClass with name"),
    Sign("RuntimeClassNotFound", r"RuntimeClass .* not found"),
    Sign("ServiceAccountNotFound", r"error looking up service account"),
    Sign("LimitRangeRefused", r"(minimum|maximum) \S+ usage per |max limit to request ratio"),
    # A limit that a LimitRange has put beside the request; of its own a pod never has one that is lower.
    Sign("LimitRangeRefused", r"must be less than or equal to \S+ limit", (422,)),
    Sign("RightMissing", r"cannot create resource", (403,)),
    Sign(
        "ObjectTooLarge", r"Too long: may not be more than \d+ bytes|[Rr]equest entity too large|request is too large"
    ),
    Sign("TooManyRequests", r"", (429,)),
    Sign("Invalid", r"", (400, 422)),
    Sign("ApiConflict", r"", (409,)),
    Sign("NotAnswered", r"", (NO_ANSWER, 408, 504)),
    Sign("ApiError", r"", (500, 501, 502)),
    Sign("ApiUnavailable", r"", (503,)),
)


def reason_of(refusal: Refusal) -> str:
    """The refusal in one word."""
    return next((sign.reason for sign in SIGNS if sign.fits(refusal.code, refusal.message)), "CreateRefused")


def quota_resource(message: str) -> str:
    """The resource whose quota is used up, or that a quota asks a limit for; empty where it is about something else."""
    if unspecified := UNSPECIFIED.search(message):
        asked = [part.split(" for: ")[0] for part in unspecified["fields"].split("; ")]
        return ", ".join(dict.fromkeys(name for names in asked for name in names.split(",")))
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
