"""Stop words by language, and languages whose words no spaces part.

English: Rae et al. 2021 (arXiv 2112.11446), A.1.1. The others: eight function words each of the lists that FineWeb-2
(Penedo et al. 2025, arXiv 2506.20920) drew from Wikipedias; names of months and the like are left out.
"""

ENGLISH = "en"
STOP_WORDS: dict[str, tuple[str, ...]] = {
    ENGLISH: ("the", "be", "to", "of", "and", "that", "have", "with"),
    "ar": ("في", "من", "على", "إلى", "أن", "مع", "هو", "عن"),
    "bn": ("এবং", "ও", "হয়", "করে", "একটি", "তিনি", "করা", "থেকে"),
    "cs": ("v", "a", "se", "na", "je", "z", "s", "do"),
    "de": ("der", "und", "die", "in", "von", "den", "mit", "das"),
    "es": ("de", "la", "en", "el", "y", "que", "los", "por"),
    "fa": ("در", "و", "به", "از", "که", "است", "این", "را"),
    "fr": ("de", "la", "le", "et", "à", "les", "est", "dans"),
    "hi": ("के", "में", "है", "की", "और", "से", "का", "को"),
    "id": ("dan", "yang", "di", "pada", "dari", "ini", "dengan", "untuk"),
    "it": ("di", "e", "il", "la", "che", "un", "per", "con"),
    "nl": ("de", "van", "in", "het", "een", "en", "is", "met"),
    "pl": ("w", "i", "na", "z", "do", "się", "jest", "nie"),
    "pt": ("de", "a", "e", "o", "que", "um", "com", "para"),
    "ru": ("в", "и", "на", "с", "не", "что", "по", "из"),
    "sv": ("i", "och", "är", "av", "en", "som", "att", "för"),
    "tr": ("ve", "bir", "bu", "ile", "için", "olan", "da", "de"),
    "uk": ("у", "в", "на", "і", "з", "та", "до", "що"),
    "vi": ("là", "và", "của", "một", "được", "trong", "các", "có"),
}
LONGER_CODES = {
    "arb": "ar", "ara": "ar", "ben": "bn", "ces": "cs", "deu": "de", "eng": "en", "spa": "es", "fas": "fa", "pes": "fa", "fra": "fr",
    "hin": "hi", "ind": "id", "ita": "it", "nld": "nl", "pol": "pl", "por": "pt", "rus": "ru", "swe": "sv", "tur": "tr", "ukr": "uk",
    "vie": "vi",
}  # fmt: skip
"""ISO 639-3, which GlotLID's labels begin with."""
UNSPACED = (
    "zh",
    "yue",
    "wuu",
    "zho",
    "cmn",
    "lzh",
    "ja",
    "jpn",
    "th",
    "tha",
    "lo",
    "lao",
    "my",
    "mya",
    "km",
    "khm",
    "bo",
    "bod",
    "dz",
    "dzo",
)
"""Languages that are written without spaces between words."""


def stop_words(language: str) -> tuple[str, ...]:
    """Of a language by its code; none where there is no list."""
    return STOP_WORDS.get(LONGER_CODES.get(language, language), ())
