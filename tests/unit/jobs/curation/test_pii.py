"""Personal data: valid and invalid forms that registries and authorities publish, tables full of numbers, real sentences."""

import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from llmtrain_jobs.curation.pii.accounts import STRUCTURES
from llmtrain_jobs.curation.pii.redact import find, replaced

from llmtrain.api.curation import PiiType
from tests.unit.jobs.curation.world import World, jsonl, prose

ALL = list(PiiType)
MADE = "q7Zt4Kd9Wm2Xb5Rc" * 3
"""Of no service: what a token has behind its prefix."""
VALID: dict[PiiType, list[str]] = {
    PiiType.EMAIL: ["write to jane.doe+news@example.co.uk today", "<a_b-c@sub.domain.org>", "mail: x1@y.io.", "O'Neil: o'neil@example.com",
                    "联系jane@example.com谢谢", "jane@example.com으로 보내", "user@xn--80ak6aa92e.com", "a@xn--d1acufc.xn--p1ai", "jane@bücher.example",
                    "_jane@example.com", ".jane.@example.ne.jp", "'jane@example.com'", "jane@example.com:hunter2", "jane@example.com-Office",
                    "https://example.com/?to=jane@example.com", "連絡先：jane＠example.com"],
    PiiType.PHONE: ["call +44 20 7946 0958 now", "+1-202-555-0143", "(202) 555-0143", "202-555-0143", "202.555.0143",
                    "phone: 030 123456-78", "my mobile is 0171 2345678", "Tel. 01 23 45 67 89", "fax 020 7946 0018",
                    "电话+44 20 7946 0958吧", "+49\u00a030\u00a012345678", "+1‑202‑555‑0143", "(+44) 20 7946 0958", "+44 (0)20 7946 0958",
                    "call me on 9472 7916?", "Phone:\n467 3395\n", "416 60 039 office\n", "07700 900 966-Fax\n", "the 020 7946 0018 is my mobile",
                    "001-518-555-0154 mobile", "345-555-0160x4587", "+1-903-555-0108 ext. 769", "Telefon: 030/1234567", "Tél. : 01 70 18 99 10",
                    "手机 13800138000", "Whatsapp 0171 2345678", "please call 5550143.", "contact us at 5550143 or by post",
                    "Mon numéro de téléphone est le 01 70 18 99 10.", "my number is 202 555 0143", "Meine Nummer: 0171/2345678", "電話０３－１２３４－５６７８"],
    PiiType.IP_ADDRESS: ["from 8.8.8.8 port 53", "host 93.184.216.34.", "2606:4700:4700::1111 answered", "at 2001:4860:4860:0:0:0:0:8888",
                         "::ffff:93.184.216.34", "64:ff9b::8.8.8.8", "0:0:0:0:0:ffff:93.184.216.34", "[2606:4700::1111]:443", "2600:: is up", "addr:2606:4700::1111.",
                         "http://93.184.216.34/x", "ssh root@93.184.216.34", "66.35.4.9 - - [10/Oct/2000]", "上93.184.216.34的", "ping 8.8.4.4", "dns=9.9.9.9", "6e40:4041:c617:e898:c11:40d2:c669:2eb4",
                         "93.184.216.34:8080", "93.184.216.0/24"],
    # Test numbers of the card networks.
    PiiType.PAYMENT_CARD: ["card 4111111111111111", "5555 5555 5555 4444", "amex 378282246310005", "3782 822463 10005",
                           "visa: 4012888888881881", "6011-1111-1111-1117", "JCB card 3530111333300000", "diners 30569309025904",
                           "pay with card 2223003122003222",
                           "4111\u00a01111\u00a01111\u00a01111", "4111 1111 1111 1111 12/29", "card 4111 1111 1111 1111 123", "Kreditkarte 4111111111111111",
                           "卡号4111 1111 1111 1111。", "4111111111111111 is my card", "card 3598899323053410"],
    # Examples of the ISO 13616 registry.
    PiiType.IBAN: ["GB29 NWBK 6016 1331 9268 19", "DE89370400440532013000", "FR14 2004 1010 0505 0001 3M02 606",
                   "NL91ABNA0417164300", "CH93 0076 2011 6238 5295 7", "NO93 8601 1117 947", "gb29nwbk60161331926819",
                   "MT84MALT011000012345MTLCAST001S",
                   "DE89\u00a03704\u00a00044\u00a00532\u00a00130\u00a000", "DE89-3704-0044-0532-0130-00", "DE 89 3704 0044 0532 0130 00", "gb29 nwbk 6016 1331 9268 19",
                   "账户DE89370400440532013000。", "LY83 0020 4800 0020 1001 2036 1", "SV62 CENR 0000 0000 0000 0070 0025", "BI42 10000 10001 00003320451 81",
                   "RU03 0445 2522 5408 1781 0538 0913 1041 9", "SC18 SSCB 1101 0000 0000 0000 1497 USD", "ST23 0001 0001 0051 8453 1014 6",
                   "TL38 0080 0123 4567 8910 157", "MN12 1234 1234 5678 9123", "OM81 0180 0000 0129 9123 456", "FK88 SC12 3456 7890 12",
                   "DJ21 0001 0000 0001 5400 0100 186", "SO21 1000 0010 0100 0100 141"],
    # Examples that the authorities or their documentation give.
    PiiType.NATIONAL_ID: ["SSN 078-05-1120", "social security 219099999", "NI number AB 12 34 56 C", "DNI 12345678Z", "NIE X1234567L",
                          "codice fiscale RSSMRA85T10A562S", "NIR 2 55 08 14 168 025 38", "CPF 111.444.777-35",
                          "Aadhaar 2341 2341 2346", "PESEL: 44051401359", "BSN 111222333", "Steuer-ID 86095742719",
                          "SSN: 536904399", "536904399 is her SSN", "social security number 536 90 4399", "ab123456c is my NI number", "AB123456C", "AB-12-34-56-C",
                          "54362315-K", "dni 54362315k", "DNI 54.362.315-K", "NIE x-2482300w", "X-2482300-W", "RCCMNL83S18D969H", "rccmnl83s18d969h", "RSS MRA 85T10 A562S",
                          "codice fiscale RSSMRAURTMLARSNL", "RSSMRA85T10A56NH", "2 95 10 99 126 111 93", "numéro de sécurité sociale 295109912611193", "NIR 253072B07300470",
                          "sécu : 2 53 07 2a 073 004 43", "CPF 39053344705", "390.533.447-05", "aadhaar 234123412346", "2341-2341-2346 is my Aadhaar",
                          "PESEL 02211307589", "sofinummer 1112.22.333", "111 222 333 (BSN)", "Steuer-ID: 36 574 261 809", "IdNr. 36574261809 liegt vor"],
    PiiType.SECRET: ["key AKIAIOSFODNN7EXAMPLE", "token ghp_" + "a1B2" * 9, "xoxb-123456789012-abcdefABCDEF", "AIza" + "Sy0123456" * 3 + "abcdefgh",
                     "sk_live_" + "4eC39HqLyjWDarjt", "postgres://user:hunter22@db.example.com/x",
                     "-----BEGIN RSA PRIVATE KEY-----\n" + "MIIEpAIBAAKCAQEA" * 4 + "\n-----END RSA PRIVATE KEY-----",
                     "key是AKIAIOSFODNN7EXAMPLE的", "A3T0ZZZZZZZZZZZZZZZZ", "ABIAZZZZZZZZZZZZZZZZ", "ACCAZZZZZZZZZZZZZZZZ",
                     "AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", 'aws_access_key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"',
                     "ghu_" + "a1B2" * 9, "ghr_" + "a1B2" * 9, "glpat-" + MADE[:20], "gldt-" + MADE[1:12] + "-_" + MADE[:7], "GR1348941" + MADE[2:22],
                     "glcbt-" + MADE[3:23], "glptt-" + "0123456789abcdef" * 2 + "01234567", "xoxp-123456-654321-112233-" + "0123456789abcdef01",
                     "xoxa-2-123456789-12345678901-1234567890123-" + "0123456789abcdef01", "https://hooks.slack.com/services/" + "T0000/B0000/" + MADE[:16],
                     "SG." + MADE[:22] + "." + MADE[:43], "sk-proj-" + MADE[:20] + "T3BlbkFJ" + MADE[:20],
                     "//registry.example.org/:_authToken=01234567-89ab-11ec-9d64-0242ac120002", "redis://:hunter22@cache:6379", "https://a:p@ss@db.example.com/x",
                     "ftp://bob:12345@ftp.example.com"],
}  # fmt: skip
INVALID = [
    "user@localhost", "@handle said", "a @ b.com", "10.0.0.1 and 192.168.1.1 and 127.0.0.1", "256.1.1.1", "version 1.2.3.4", "v 8.8.8.8",
    "fe80::1", "12:30:45", "card 4111111111111112", "order 4111111111111111", "card 9999999999999995", "GB29NWBK60161331926818",
    "GB29NWBK6016133192681", "ZZ29NWBK60161331926819", "SSN 000-12-3456", "666-12-3456", "123-00-4567", "12345678A", "111.444.777-36",
    "Aadhaar 2341 2341 2347", "BSN 111222334", "44051401359", "111222333", "QQ123456C", "ISIN US0378331005", "CUSIP 037833100",
    "1,234,567.89", "$1 234 567", "2024-01-02", "31/12/1999", "01.02.2024", "112-1234567-1234567", "ISBN 978-3-16-148410-0",
    "RFC 2119", "pages 123-456", "3.14159265358979", "sk-learn", "https://example.com/a:b@c", "eyJ", "UTC+01:00", "+1 point",
    # Versions, sections, identifiers.
    "See section 8.1.2.3 of the standard and clause 12.4.5.6.", "Upgrade to 8.15.7.1 or later", "OID 1.3.6.1 is the internet arc", "numpy==8.26.4.1", "8.1.2.3", "jdk 8.0.191.12", "SQL Server 15.0.2.1", "Node 8.1.2.3", "foo 1.8.0.201",
    "Chrome/120.0.0.0 Safari/537.36", "versions 8.1.2.3, 8.1.2.4 and 8.1.200.5", "libfoo-8.1.120.3.tar.gz", "224.0.0.251 is multicast", "phone model SM-G991B 6.1.2.0",
    # Code.
    "git clone git@github.com:owner/name.git", "git@gitlab.example.com/team/x", "scp a.tgz deploy@web-1.example.com:/srv/app", "logo@2x.png", "icon@3x.webp and a@b.css",
    "@media (min-width: 768px)", "lodash@4.17.21", "W@x.reshape(-1)", "123e4567-e89b-12d3-a456-426614174000", "0x4111111111111111", "std::vector<int>::iterator", "a::b::c",
    "00:1a:2b:3c:4d:5e", "43:51:43:a1:b5:fc:8b:b7:0a:3a:a9:b1:0f:66:73:a8", "dead::beef", "00:11:22:33:44:55:66:77", "1234:5678:9012:3456:7890:1234:5678:9012", "2001:db8::1", "::ffff:10.0.0.1", "64:ff9b::10.0.0.1", "12:34:56 1:2:3:4", ":::",
    "call(5551234, 5554321)", "x = 5551234567", "sk-learn-contrib-imbalanced-learn-extra-package-name-2024", "xoxo-hugs-and-kisses-for-all", "glpat_a_name_in_code_20",
    "col-md-12 mt84 pt25 mb10", "{margin: 0 10px 20px 30px; width: 1234567px}", "20240101Z", "T 20231005T", "akiazzzzzzzzzzzzzzzz",
    # URLs; a port is no password, nor is what stands for one.
    "https://example.com/item/202-555-0143", "https://example.com/card/4111111111111111", "https://example.com/2023/10/11/5551234", "https://medium.com/@name/post-1234567890",
    "http://example.com:8080,c@d", '"https://url:8000";@something else', "https://example.com:8000@x", "postgres://user:password@localhost:5432/db", "https://u:${TOKEN}@example.com",
    "https://example.com/6.1.2.3/", "https://example.com/v/8.1.2.3",
    "https://username:password@example.com", "ssh://deploy@web-1.example.com:22/srv", "ftp://jane@example.org/pub",
    # Numbers of things.
    "Part no. 123-45-6789 fits the pump.", "gauge 202-555-0143", "The population grew from 123 456 7890 to more.", "Call the function with 555 1234567 entries.",
    "Contact the ring 12345678 sensor", "Tel Aviv 1948 1967 1973 population", "mobile: 1948-1967", "the number is 202 555 0143", "my order number is 5551234", "call 2024-01-02 10:30", "1 500 000 mobile subscribers", "12345678 phones",
    "4532 1234 5678 9012 3456 7890", "25 6483 7109 2183 8535 2", "Clause 252.227-7013", "1111 4111 1111 1111 1111 2222", "coordinates 40.7128 -74.0060, 4532015112830366 was the sum", "2341 2341 2346", "36 574 261 809",
    # Rules beside the check digit.
    "Steuer-ID 36554266806", "IdNr 11111111111", "PESEL 02381307589", "Aadhaar 222222222222", "NIR 2 95 13 99 126 111 90", "CPF 11111111111", "RCCMNL83S99D969H", "SSN 900-12-3456",
    "nt 99 88 77 a is no NI number",
]  # fmt: skip


@pytest.mark.parametrize("kind", ALL)
def test_every_valid_form_is_found_as_what_it_is_and_nothing_else(kind: PiiType) -> None:
    found = {text: [finding.kind for finding in find(text, ALL)] for text in VALID[kind]}
    assert found == {text: [kind] for text in VALID[kind]}


@pytest.mark.parametrize("text", INVALID)
def test_an_invalid_form_is_left_alone(text: str) -> None:
    assert find(text, ALL) == []


BODY = "\n".join(["MIIEpAIBAAKCAQEA" * 4] * 3)
KEYS = {
    "as it is": f"-----BEGIN PRIVATE KEY-----\n{BODY}\n-----END PRIVATE KEY-----",
    "newlines escaped": f"-----BEGIN EC PRIVATE KEY-----\n{BODY}\n-----END EC PRIVATE KEY-----".replace("\n", "\\n"),
    "newlines escaped twice": f"-----BEGIN PRIVATE KEY-----\n{BODY}\n-----END PRIVATE KEY-----".replace("\n", "\\\\n"),
    "headers": f"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0123\n\n{BODY}\n-----END RSA PRIVATE KEY-----",
    "strings of a program": '-----BEGIN PRIVATE KEY-----\\n" +\n' + "".join(f'  "{line}\\n" +\n' for line in BODY.split("\n")) + '  "-----END PRIVATE KEY-----',
    "quoted in a mail": "-----BEGIN OPENSSH PRIVATE KEY-----\n> " + BODY.replace("\n", "\n> ") + "\n> -----END OPENSSH PRIVATE KEY-----",
    "without an end": f"-----BEGIN PRIVATE KEY-----\n{BODY}\nAbCd+w==",
    "without an end, newlines escaped": f"-----BEGIN PRIVATE KEY-----\n{BODY}".replace("\n", "\\n"),
    "headers, without an end": f"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0123\n\n{BODY}",
    "PGP": f"-----BEGIN PGP PRIVATE KEY BLOCK-----\nVersion: GnuPG v2\n\n{BODY}\n=AbCd\n-----END PGP PRIVATE KEY BLOCK-----",
    "SSH2": f"---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\nComment: x\n{BODY}\n---- END SSH2 ENCRYPTED PRIVATE KEY ----",
    "PuTTY": f"PuTTY-User-Key-File-2: ssh-rsa\nEncryption: none\nPrivate-Lines: 3\n{BODY}\nPrivate-MAC: {'0123456789abcdef' * 2}",
    "in one line": f"-----BEGIN PRIVATE KEY-----{BODY}-----END PRIVATE KEY-----".replace("\n", " "),
}  # fmt: skip


@pytest.mark.parametrize("shape", list(KEYS))
@pytest.mark.parametrize("behind", ["", "\n\nKeep this safe, and tell nobody about it.", '", "name": "x"}'])
def test_a_private_key_goes_as_a_whole_and_nothing_with_it(shape: str, behind: str) -> None:
    text = f'key = "{KEYS[shape]}{behind}'
    assert replaced(text, find(text, ALL)) == f'key = "[SECRET]{behind}'


def test_words_about_keys_are_no_keys() -> None:
    text = "A file that begins with -----BEGIN PRIVATE KEY----- and ends with\n-----END PRIVATE KEY----- holds uncharacteristically much."
    assert find(text, ALL) == []


# text, what stays of it: nothing of a finding, and all around it
WHOLE = {
    "at ::ffff:93.184.216.34, then": "at [IP_ADDRESS], then",
    "from 64:ff9b::8.8.8.8.": "from [IP_ADDRESS].",
    "[2606:4700::1111]:443": "[[IP_ADDRESS]]:443",
    "(2606:4700:4700::1111%eth0)": "([IP_ADDRESS])",
    "http://93.184.216.34:8080/x": "http://[IP_ADDRESS]:8080/x",
    "IPv6:2606:4700::1111: ok": "IPv6:[IP_ADDRESS]: ok",
    "tel (+44) 20 7946 0958.": "tel [PHONE].",
    "+1 415 555 0132 12 times": "[PHONE] 12 times",
    "+44 20 7946 0958 12 May": "[PHONE] 12 May",
    "+33 1 70 18 99 10 2024-01-01": "[PHONE] 2024-01-01",
    "Tel. 030 1234567 / 0171 2345678.": "Tel. [PHONE] / [PHONE].",
    "Phones:\n030 1234567\n040 7654321": "Phones:\n[PHONE]\n[PHONE]",
    "+49 30 1234567 oder 0171 2345678": "[PHONE] oder [PHONE]",
    "smith&sons@example.com": "[EMAIL]",
    "+1-903-555-0108x769, ok": "[PHONE], ok",
    "write to _jane.doe+news@example.co.uk.": "write to [EMAIL].",
    "'jane@example.com', 'joe@example.com'": "'[EMAIL]', '[EMAIL]'",
    "josé.garcía@example.es": "[EMAIL]",
    "https://a:p@ss@db.example.com/x": "https://a:[SECRET]@db.example.com/x",
    "DE89 3704 0044 0532 0130 00 BIC COBADEFF": "[IBAN] BIC COBADEFF",
    "card 4111 1111 1111 1111 123 ok": "card [PAYMENT_CARD] 123 ok",
    "NIE x-2482300w, sì": "NIE [NATIONAL_ID], sì",
    "http://example.com:8080,jane@example.com": "http://example.com:8080,[EMAIL]",
    "jane@example.com:hunter2": "[EMAIL]:hunter2",
}  # fmt: skip


@pytest.mark.parametrize("text", list(WHOLE))
def test_nothing_of_a_finding_stays_and_nothing_else_goes(text: str) -> None:
    assert replaced(text, find(text, ALL)) == WHOLE[text]


def check_digits(country: str, rest: str) -> str:
    """ISO 7064 mod 97-10 over the rest, the country and 00."""
    return f"{98 - int(''.join(str(int(c, 36)) for c in rest + country + '00')) % 97:02d}"


@pytest.mark.parametrize("country", list(STRUCTURES))
def test_an_iban_of_every_country_in_every_spacing(country: str) -> None:
    parts = re.findall(r"(\d+)([nac])", STRUCTURES[country])
    rest = "".join(
        {"n": "1234567890", "a": "QWERTYUIOP", "c": "A1B2C3D4E5"}[kind][i % 10]
        for count, kind in parts
        for i in range(int(count))
    )
    number = country + check_digits(country, rest) + rest
    fours = [number[i : i + 4] for i in range(0, len(number), 4)]
    written = [number, number.lower(), *(sep.join(fours) for sep in (" ", "\u00a0", "\u202f", "-", "  "))]
    assert [replaced(f"IBAN {text}.", find(f"IBAN {text}.", ALL)) for text in written] == ["IBAN [IBAN]."] * len(
        written
    )
    changed = number[:-1] + ("1" if number[-1] != "1" else "2")
    assert [found.kind for found in find(f"IBAN {changed}.", ALL)] in ([], [PiiType.PHONE])


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


def table_of_integers(seed: int, rows: int) -> str:
    """Columns of counts, years and sums, with one blank between them or a no-break one within thousands."""
    generator = np.random.default_rng(seed)
    lines = []
    for _ in range(rows):
        n = [int(value) for value in generator.integers(0, 10**7, 12)]
        thousands = f"{n[0]:,}".replace(",", "\u00a0")
        lines.append(
            " ".join([str(1900 + n[1] % 130), *(str(value % 10 ** (1 + value % 6)) for value in n[2:9]), thousands])
        )
        lines.append(
            f"{n[9] % 10**4:04d} {n[10] % 10**4:04d} {n[11] % 10**4:04d} {n[2] % 10**4:04d} {n[3] % 10**4:04d} {n[4] % 10**3:03d}.{n[5] % 100:02d}"
        )
    return "\n".join(lines)


def test_tables_of_integers_hold_nothing_personal() -> None:
    text = table_of_integers(1, 2000)
    assert Counter(finding.kind for finding in find(text, ALL)) == {}


MEASURED_RECALL = {PiiType.EMAIL: 1.0, PiiType.IP_ADDRESS: 1.0, PiiType.IBAN: 1.0, PiiType.NATIONAL_ID: 1.0,
                   PiiType.PAYMENT_CARD: 1.0, PiiType.PHONE: 0.97}  # fmt: skip
LABELS = {"EMAIL_ADDRESS": PiiType.EMAIL, "PHONE_NUMBER": PiiType.PHONE, "IP_ADDRESS": PiiType.IP_ADDRESS,
          "CREDIT_CARD": PiiType.PAYMENT_CARD, "IBAN_CODE": PiiType.IBAN, "US_SSN": PiiType.NATIONAL_ID}  # fmt: skip


def test_precision_and_recall_on_labelled_sentences(capsys: pytest.CaptureFixture[str]) -> None:
    """What is missed: phone numbers without a plus, a form or a word beside them."""
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
