"""Keys and tokens that carry their issuer's mark, private keys, passwords within URLs."""

import re
from bisect import bisect_left
from collections.abc import Iterator

from llmtrain_jobs.curation.pii.text import Span, Text

W = "[A-Za-z0-9_-]"
TOKENS = {
    "AKIA": "AKIA[0-9A-Z]{16}", "ASIA": "ASIA[0-9A-Z]{16}", "ABIA": "ABIA[0-9A-Z]{16}", "ACCA": "ACCA[0-9A-Z]{16}", "A3T": "A3T[0-9A-Z]{17}",
    "ghp_": "ghp_[A-Za-z0-9]{36,255}", "gho_": "gho_[A-Za-z0-9]{36,255}", "ghu_": "ghu_[A-Za-z0-9]{36,255}", "ghs_": "ghs_[A-Za-z0-9]{36,255}",
    "ghr_": "ghr_[A-Za-z0-9]{36,255}", "github_pat_": "github_pat_[A-Za-z0-9_]{60,255}",
    "glpat-": rf"glpat-{W}{{20,64}}(?:\.[0-9a-z.]{{2,20}})?", "gldt-": f"gldt-{W}{{20,50}}", "glft-": f"glft-{W}{{20,50}}",
    "glsoat-": f"glsoat-{W}{{20,50}}", "glrt-": rf"glrt-{W}{{20,50}}(?:\.[0-9a-z.]{{2,20}})?", "GR1348941": f"GR1348941{W}{{20,50}}",
    "glcbt-": f"glcbt-{W}{{20,53}}", "glimt-": f"glimt-{W}{{25}}", "glptt-": f"glptt-{W}{{40}}", "glagent-": f"glagent-{W}{{50,1024}}",
    "gloas-": f"gloas-{W}{{64}}",
    "xoxa-": r"xoxa-(?:\d{1,20}-){1,6}[A-Za-z0-9]{8,250}", "xoxb-": r"xoxb-(?:\d{1,20}-){1,6}[A-Za-z0-9]{8,250}",
    "xoxe-": r"xoxe-(?:\d{1,20}-){1,6}[A-Za-z0-9]{8,250}", "xoxo-": r"xoxo-(?:\d{1,20}-){1,6}[A-Za-z0-9]{8,250}",
    "xoxp-": r"xoxp-(?:\d{1,20}-){1,6}[A-Za-z0-9]{8,250}", "xoxr-": r"xoxr-(?:\d{1,20}-){1,6}[A-Za-z0-9]{8,250}",
    "xoxs-": r"xoxs-(?:\d{1,20}-){1,6}[A-Za-z0-9]{8,250}", "xapp-": r"xapp-\d-[A-Za-z0-9]{6,20}-\d{6,20}-[A-Za-z0-9]{16,128}",
    "hooks.slack.com": r"hooks\.slack\.com/services/T\w{1,64}/B\w{1,64}/\w{1,64}",
    "AIza": "AIza[0-9A-Za-z_-]{35}", "GOCSPX-": f"GOCSPX-{W}{{28}}", "ya29.": rf"ya29\.{W}{{20,400}}",
    "sk_live_": "sk_live_[0-9A-Za-z]{16,250}", "rk_live_": "rk_live_[0-9A-Za-z]{16,250}", "sk_test_": "sk_test_[0-9A-Za-z]{16,250}",
    "rk_test_": "rk_test_[0-9A-Za-z]{16,250}", "whsec_": "whsec_[0-9A-Za-z+/]{24,100}",
    "sk-": f"sk-{W}{{32,250}}", "hf_": "hf_[A-Za-z0-9]{30,50}", "npm_": "npm_[A-Za-z0-9]{36}", "pypi-": f"pypi-{W}{{50,250}}",
    "dckr_pat_": f"dckr_pat_{W}{{27}}", "SG.": rf"SG\.{W}{{22}}\.{W}{{43}}", "SK": "SK[0-9a-f]{32}", "AC": "AC[0-9a-f]{32}",
    "sq0csp-": f"sq0csp-{W}{{43}}", "sq0atp-": f"sq0atp-{W}{{22}}", "dop_v1_": "dop_v1_[0-9a-f]{64}", "dapi": "dapi[0-9a-f]{32}",
    "shpat_": "shpat_[0-9A-Fa-f]{32}", "AGE-SECRET-KEY-1": "AGE-SECRET-KEY-1[0-9A-Z]{58}",
    "eyJ": r"eyJ[A-Za-z0-9_-]{10,2000}\.eyJ[A-Za-z0-9_-]{10,4000}(?:\.[A-Za-z0-9_-]{0,1000})?",
}  # fmt: skip
"""Patterns by the mark that they begin with. Prefixes of AWS, GitHub, GitLab, Slack, Stripe, SendGrid, Square and Twilio are those of detect-secrets 1.5."""
PATTERNS = {mark: re.compile(pattern + r"(?![A-Za-z0-9_])", re.ASCII) for mark, pattern in TOKENS.items()}
JOINED = frozenset({"eyJ"})
"""No hyphen before these: a body may hold the mark, and each would be read to its end."""
NAMED = frozenset({"sk-"})
"""Names of packages begin so too; a piece without hyphens has to be long."""
LONG_PIECE = 16
VALUES = {
    "AccountKey=": re.compile(r"AccountKey=([A-Za-z0-9+/]{86}==)"),
    "SharedAccessKey=": re.compile(r"SharedAccessKey=([A-Za-z0-9+/]{43}=)"),
    "_authToken=": re.compile(r"_authToken=\s{0,3}([0-9A-Fa-f]{8}-[0-9A-Fa-f-]{27}|npm_\w{6,64})(?![A-Za-z0-9_-])", re.ASCII),
    "-us": re.compile(r"(?<=([0-9a-f]{32}))-us\d{1,2}(?![A-Za-z0-9_-])", re.ASCII),
    ":AA": re.compile(r":AA[A-Za-z0-9_-]{33}(?![A-Za-z0-9_-])"),
}  # fmt: skip
"""By a mark that stands within; group 1, where there is one, is the secret."""
AWS_SECRET = re.compile(
    r"(?:aws|secret)[a-z_-]{0,20}(?:key|token|pass(?:word)?|pwd|pw)[\"']?\s{0,3}(?:[:=]>?|,)\s{0,3}[\"']?([A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])",
    re.IGNORECASE,
)
AWS_MARKS = ("aws", "AWS", "Aws", "ecretAccessKey", "ecret_access_key", "ECRET_ACCESS_KEY")
BOT = re.compile(r"(?<![A-Za-z0-9_])\d{8,10}$", re.ASCII)

DISCORD = re.compile(rf"\.{W}{{6}}\.{W}{{27,38}}(?!{W})")
DISCORD_ID = re.compile(rf"(?<!{W})[MNO]{W}{{23,25}}$")

PASSWORD = re.compile(
    r"://([^\s:/?#@\"'<>\[\]]{0,64}):([^\s/?#\"'<>]{3,128}?)@(?=[\w.\[\]:-]{0,255}+(?:[\s/?#\"'<>,;)]|$))"
)
PORT = re.compile(r"\d{1,5}(?![A-Za-z0-9_.!~*$%+=:@-])", re.ASCII)
HOST = re.compile(r"localhost|.*\..*|.*\]")
PLACEHOLDER = re.compile(
    r"(?-i:\$[A-Z_][A-Z0-9_]*)|\$?\{.*|\$\(.*|%\w|\[.*\]|\*+|•+|\.{3,}|x{3,}|(?:your|my|the|db|user)?[_-]?(?:pass|passwd|password|passphrase|pwd|pw|secret|token|changeme|example|redacted)[_-]?(?:here|word)?\d?",
    re.IGNORECASE,
)

BEGIN = re.compile(r"-{4,5} ?BEGIN (?:[A-Z0-9]{2,12} ){0,4}PRIVATE KEY(?: BLOCK)? ?-{4,5}|PuTTY-User-Key-File-\d")
FINISH = re.compile(r"-{4,5} ?END (?:[A-Z0-9]{2,12} ){0,4}PRIVATE KEY(?: BLOCK)? ?-{4,5}|Private-MAC: [0-9a-f]{16,128}")
LONGEST_KEY = 30_000
JUNK = r"(?:\\+[nrt]|<br ?/?>|&#?\w{2,6};|[\s\"'`+,>|\\;:#*=])"
LINE = r"[A-Za-z0-9+/=]{20,}+"
HEADER = r"[A-Z][A-Za-z0-9-]{1,40}: [^\n\\\"]{0,200}+"
ARMOUR = re.compile(
    rf"(?:{JUNK}*+{HEADER}(?=[\n\\\"])){{0,8}}+(?:{JUNK}*+{LINE})*+(?:[ \t\"'+,;\\]{{0,8}}(?:\n|\\+n)[ \t\"'>|+#*]{{0,12}}=?[A-Za-z0-9+/]{{1,19}}={{0,2}}(?=\s*$|[ \t]*[\n\"'`\\]))?"
)
KEY_LINE = re.compile(LINE)
SHORTEST_KEY = 40


def secrets(text: Text) -> Iterator[Span]:
    """In no order; findings may overlap."""
    yield from _private_keys(text.plain)
    for mark, pattern in PATTERNS.items():
        yield from _marked(text.plain, mark, pattern)
    for mark, pattern in VALUES.items():
        yield from _valued(text.plain, mark, pattern)
    yield from _discord(text.plain)
    if any(mark in text.plain for mark in AWS_MARKS):
        yield from (found.span(1) for found in AWS_SECRET.finditer(text.plain))
    if "://" in text.plain:
        yield from (found.span(2) for found in PASSWORD.finditer(text.plain) if _is_password(found[1], found[2]))


def _marked(text: str, mark: str, pattern: re.Pattern[str]) -> Iterator[Span]:
    """Tokens that begin with their mark, where no word does."""
    place = text.find(mark)
    while place >= 0:
        before = text[place - 1 : place] if place else ""
        begins = (
            not (before.isascii() and before.isalnum()) and before != "_" and not (before == "-" and mark in JOINED)
        )
        found = pattern.match(text, place) if begins else None
        if found and (mark not in NAMED or _has_long_piece(found.group())):
            yield found.span()
        place = text.find(mark, found.end() if found else place + len(mark))


def _has_long_piece(token: str) -> bool:
    return max(map(len, re.split("[-_]", token))) >= LONG_PIECE and any(map(str.isdigit, token))


def _valued(text: str, mark: str, pattern: re.Pattern[str]) -> Iterator[Span]:
    place = text.find(mark)
    while place >= 0:
        found = pattern.match(text, place)
        if found and mark == ":AA":
            bot = BOT.search(text, max(0, place - 11), place)
            if bot:
                yield bot.start(), found.end()
        elif found:
            yield (found.start(1), found.end()) if pattern.groups else found.span()
        place = text.find(mark, place + len(mark))


def _discord(text: str) -> Iterator[Span]:
    """Tokens of bots: the bot's number, a time and a signature in base64, with dots between them."""
    for found in DISCORD.finditer(text):
        number = DISCORD_ID.search(text, max(0, found.start() - 27), found.start())
        if number:
            yield number.start(), found.end()


def _is_password(user: str, password: str) -> bool:
    """A host's port and what only stands for a password are none."""
    return not (PORT.match(password) and HOST.fullmatch(user)) and not PLACEHOLDER.fullmatch(password)


def _private_keys(text: str) -> Iterator[Span]:
    """From a key's beginning to its end; without an end as far as it goes on like a key."""
    if "PRIVATE KEY" not in text and "PuTTY-User-Key" not in text:
        return
    ends = [found.span() for found in FINISH.finditer(text)]
    begins = list(BEGIN.finditer(text))
    for number, begin in enumerate(begins):
        following = begins[number + 1].start() if number + 1 < len(begins) else len(text)
        at = bisect_left(ends, (begin.end(), 0))
        ended = at < len(ends) and ends[at][0] < min(following, begin.end() + LONGEST_KEY)
        if ended and _is_armour(text[begin.end() : ends[at][0]]):
            yield begin.start(), ends[at][1]
            continue
        body = ARMOUR.match(text, begin.end(), following)
        if body and len(body.group()) >= SHORTEST_KEY and _is_armour(body.group()):
            yield begin.start(), body.end()


def _is_armour(body: str) -> bool:
    """Whether there is a line of base64 that is no long word."""
    return any(not (line.group().isalpha() and line.group().islower()) for line in KEY_LINE.finditer(body))
