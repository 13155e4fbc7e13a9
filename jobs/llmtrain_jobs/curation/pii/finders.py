"""Every kind of personal data and who finds it."""

from collections.abc import Callable, Iterator

from llmtrain.api.curation import PiiType
from llmtrain_jobs.curation.pii.accounts import cards, ibans
from llmtrain_jobs.curation.pii.mail import emails
from llmtrain_jobs.curation.pii.national import national_ids
from llmtrain_jobs.curation.pii.network import addresses
from llmtrain_jobs.curation.pii.phones import phones
from llmtrain_jobs.curation.pii.secrets import secrets
from llmtrain_jobs.curation.pii.text import Span, Text

FINDERS: dict[PiiType, Callable[[Text], Iterator[Span]]] = {
    PiiType.SECRET: secrets, PiiType.EMAIL: emails, PiiType.IBAN: ibans, PiiType.PAYMENT_CARD: cards,
    PiiType.NATIONAL_ID: national_ids, PiiType.IP_ADDRESS: addresses, PiiType.PHONE: phones,
}  # fmt: skip
"""In this order: of two findings that overlap the earlier kind wins."""
WITHOUT_DIGITS = (PiiType.SECRET, PiiType.EMAIL)
