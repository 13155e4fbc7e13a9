"""Personal data: valid and invalid forms that registries and authorities publish, tables full of numbers, real sentences."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from llmtrain_jobs.curation.pii.redact import find, replaced

from llmtrain.api.curation import PiiType
from tests.unit.jobs.curation.world import World, jsonl, prose

ALL = list(PiiType)
VALID: dict[PiiType, list[str]] = {
    PiiType.EMAIL: ["write to jane.doe+news@example.co.uk today", "<a_b-c@sub.domain.org>", "mail: x1@y.io.", "O'Neil: o'neil@example.com"],
    PiiType.PHONE: ["call +44 20 7946 0958 now", "+1-202-555-0143", "(202) 555-0143", "202-555-0143", "202.555.0143",
                    "phone: 030 123456-78", "my mobile is 0171 2345678", "Tel. 01 23 45 67 89", "fax 020 7946 0018"],
    PiiType.IP_ADDRESS: ["from 8.8.8.8 port 53", "host 93.184.216.34.", "2606:4700:4700::1111 answered", "at 2001:4860:4860:0:0:0:0:8888"],
    # Test numbers of the card networks.
    PiiType.PAYMENT_CARD: ["card 4111111111111111", "5555 5555 5555 4444", "amex 378282246310005", "3782 822463 10005",
                           "visa: 4012888888881881", "6011-1111-1111-1117", "JCB card 3530111333300000", "diners 30569309025904",
                           "pay with card 2223003122003222"],
    # Examples of the ISO 13616 registry.
    PiiType.IBAN: ["GB29 NWBK 6016 1331 9268 19", "DE89370400440532013000", "FR14 2004 1010 0505 0001 3M02 606",
                   "NL91ABNA0417164300", "CH93 0076 2011 6238 5295 7", "NO93 8601 1117 947", "gb29nwbk60161331926819",
                   "MT84MALT011000012345MTLCAST001S"],
    # Examples that the authorities or their documentation give.
    PiiType.NATIONAL_ID: ["SSN 078-05-1120", "social security 219099999", "NI number AB 12 34 56 C", "DNI 12345678Z", "NIE X1234567L",
                          "codice fiscale RSSMRA85T10A562S", "NIR 2 55 08 14 168 025 38", "CPF 111.444.777-35",
                          "Aadhaar 2341 2341 2346", "PESEL: 44051401359", "BSN 111222333", "Steuer-ID 86095742719"],
    PiiType.SECRET: ["key AKIAIOSFODNN7EXAMPLE", "token ghp_" + "a1B2" * 9, "xoxb-123456789012-abcdefABCDEF", "AIza" + "Sy0123456" * 3 + "abcdefgh",
                     "sk_live_" + "4eC39HqLyjWDarjt", "postgres://user:hunter22@db.example.com/x",
                     "-----BEGIN RSA PRIVATE KEY-----\n" + "MIIEpAIBAAKCAQEA" * 4 + "\n-----END RSA PRIVATE KEY-----"],
}  # fmt: skip
INVALID = [
    "user@localhost", "@handle said", "a @ b.com", "10.0.0.1 and 192.168.1.1 and 127.0.0.1", "256.1.1.1", "version 1.2.3.4", "v 8.8.8.8",
    "fe80::1", "12:30:45", "card 4111111111111112", "order 4111111111111111", "card 9999999999999995", "GB29NWBK60161331926818",
    "GB29NWBK6016133192681", "ZZ29NWBK60161331926819", "SSN 000-12-3456", "666-12-3456", "123-00-4567", "12345678A", "111.444.777-36",
    "Aadhaar 2341 2341 2347", "BSN 111222334", "44051401359", "111222333", "QQ123456C", "ISIN US0378331005", "CUSIP 037833100",
    "1,234,567.89", "$1 234 567", "2024-01-02", "31/12/1999", "01.02.2024", "112-1234567-1234567", "ISBN 978-3-16-148410-0",
    "RFC 2119", "pages 123-456", "3.14159265358979", "sk-learn", "https://example.com/a:b@c", "eyJ", "UTC+01:00", "+1 point",
]  # fmt: skip


@pytest.mark.parametrize("kind", ALL)
def test_every_valid_form_is_found_as_what_it_is_and_nothing_else(kind: PiiType) -> None:
    found = {text: [finding.kind for finding in find(text, ALL)] for text in VALID[kind]}
    assert found == {text: [kind] for text in VALID[kind]}


@pytest.mark.parametrize("text", INVALID)
def test_an_invalid_form_is_left_alone(text: str) -> None:
    assert find(text, ALL) == []


def financial_table(seed: int, rows: int) -> str:
    """What a broker's statement looks like: names that are numbers, prices, dates, order numbers, sums."""
    generator = np.random.default_rng(seed)
    lines = []
    for _ in range(rows):
        n = generator.integers(0, 10**9, 6)
        day = f"20{n[0] % 25:02d}-{1 + n[0] % 12:02d}-{1 + n[1] % 28:02d}"
        lines.append(
            f"{day}\tUS{n[1]:09d}{n[2] % 10}\t{n[2]:09d}\tORD-{n[3]:09d}{n[4] % 10**6:06d}\t{n[4] / 100:,.2f}\t{n[5] % 10**4}.{n[0] % 100:02d}\t{n[3] % 10**6}\t{n[1]:09d}{n[2]:07d}"
        )
    return "\n".join(lines)


def test_tables_full_of_numbers_hold_nothing_personal() -> None:
    text = financial_table(1, 3000)
    assert Counter(finding.kind for finding in find(text, ALL)) == {}


MEASURED_RECALL = {PiiType.EMAIL: 1.0, PiiType.IP_ADDRESS: 1.0, PiiType.IBAN: 1.0, PiiType.NATIONAL_ID: 1.0,
                   PiiType.PAYMENT_CARD: 0.97, PiiType.PHONE: 0.75}  # fmt: skip
LABELS = {"EMAIL_ADDRESS": PiiType.EMAIL, "PHONE_NUMBER": PiiType.PHONE, "IP_ADDRESS": PiiType.IP_ADDRESS,
          "CREDIT_CARD": PiiType.PAYMENT_CARD, "IBAN_CODE": PiiType.IBAN, "US_SSN": PiiType.NATIONAL_ID}  # fmt: skip


def test_precision_and_recall_on_labelled_sentences(capsys: pytest.CaptureFixture[str]) -> None:
    """What is missed: cards whose prefix belongs to no issuer, phone numbers without a plus, a form or a word before."""
    rows = [json.loads(line) for line in Path("tests/data/pii/presidio.jsonl").read_text().splitlines()]
    hits, missed, wrong = Counter[PiiType](), Counter[PiiType](), Counter[PiiType]()
    for row in rows:
        gold = [(LABELS[span["type"]], span["start"], span["end"]) for span in row["spans"] if span["type"] in LABELS]
        found = find(row["text"], ALL)
        for kind, start, end in gold:
            matched = any(f.kind is kind and f.start < end and start < f.end for f in found)
            (hits if matched else missed)[kind] += 1
        for finding in found:
            wrong[finding.kind] += not any(
                k is finding.kind and finding.start < e and s < finding.end for k, s, e in gold
            )
    with capsys.disabled():
        for kind in MEASURED_RECALL:
            print(f"\n{kind}: recall {hits[kind] / (hits[kind] + missed[kind]):.3f}, wrong {wrong[kind]}", end="")
    assert all(hits[kind] >= least * (hits[kind] + missed[kind]) for kind, least in MEASURED_RECALL.items())
    assert sum(wrong.values()) == 0


def test_what_is_found_is_replaced_by_its_type_and_counted(world: World) -> None:
    secret = "Write to jane@example.com or call +44 20 7946 0958."
    rows = [{"text": prose(i) + ("\n" + secret if i < 5 else "")} for i in range(40)]
    jsonl(world.root / "in" / "a.jsonl", rows)
    report = world.report(world.run({"deduplication": {"minHash": {"enabled": False}}}))
    assert {kind: count for kind, count in report["piiFound"].items() if count} == {"Email": 5, "Phone": 5}
    everything = b"".join(
        file.read_bytes()
        for folder in ("work", "artifacts")
        for file in (world.root / folder).rglob("*")
        if file.is_file()
    )
    assert b"jane@example.com" not in everything
    assert replaced(secret, find(secret, ALL)) == "Write to [EMAIL] or call [PHONE]."


def test_documents_with_personal_data_can_be_dropped(world: World) -> None:
    rows = [{"text": prose(i) + ("\njane@example.com is here." if i < 5 else "")} for i in range(40)]
    jsonl(world.root / "in" / "a.jsonl", rows)
    report = world.report(world.run({"pii": {"action": "Drop"}}))
    assert report["ledger"]["fates"]["pii"]["documents"] == 5
