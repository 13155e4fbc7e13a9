"""Pages in the charsets that they are written in: declared by the server, by themselves, wrongly, or by nobody."""

import pytest
from llmtrain_jobs.curation.reading.charset import CODECS, characters_of

from tests.unit.jobs.curation.reading.archives import http, read, warc

TEXTS = {
    "ko": "삼성전자는 대한민국의 전자제품을 만드는 기업이다. 본사는 경기도 수원시에 있으며 세계 여러 나라에 공장을 두고 있다.",
    "ko beyond KS X 1001": "똠방각하와 펲시콜라를 좋아하는 사람들이 뷁이라고 외치며 홋카이도로 갔다. 설날 아침에 떡국을 먹었다.",
    "zh": "中华人民共和国位于亚洲东部，太平洋西岸，是世界上人口最多的国家之一。北京是中国的首都。", "tw": "臺灣位於亞洲東部，太平洋西岸，首都是臺北。今天的天氣很好，我們一起去公園散步吧。",
    "ja": "日本は東アジアに位置する島国である。東京は日本の首都であり、世界最大の都市の一つである。", "ru": "Москва является столицей России и крупнейшим по численности населения городом страны.",
    "uk": "Київ є столицею України та найбільшим містом країни. Тут живуть мільйони людей, які щодня їздять на роботу.", "bg": "София е столицата и най-големият град на България. Тук живеят повече от един милион души.",
    "cs": "Praha je hlavní a současně největší město České republiky. Příliš žluťoučký kůň úpěl ďábelské ódy.", "pl": "Warszawa jest stolicą Polski i największym miastem kraju. Źródła podają, że żyje tu ponad półtora miliona ludzi.",
    "hu": "Budapest Magyarország fővárosa és legnagyobb városa. Itt él az ország lakosságának közel egyötöde, és őrzi örökségét.", "de": "München ist die Hauptstadt des Freistaates Bayern. Größe und Schönheit der Straßen überraschen viele Gäste.",
    "fr": "Les élèves étudient le français à l’école où ils ont été reçus très tôt. Ça va être un bel été.", "en": "The café on the corner – “our favourite” – opens at nine o'clock and serves breakfast until noon.",
    "es": "España es un país situado en el suroeste de Europa. El niño comió una piña mañana por la mañana según su mamá.", "el": "Η Αθήνα είναι η πρωτεύουσα της Ελλάδας και η μεγαλύτερη πόλη της χώρας. Εδώ ζουν εκατομμύρια άνθρωποι.",
    "tr": "Ankara Türkiye'nin başkentidir. Şehir ülkenin ortasında yer alır ve çok sayıda öğrenci burada yaşar. İstanbul güzeldir.", "he": "ירושלים היא בירת ישראל והעיר הגדולה ביותר במדינה. בעיר גרים אנשים רבים מכל העולם.",
    "ar": "القاهرة هي عاصمة مصر وأكبر مدينة فيها. يعيش في المدينة ملايين الناس وهي مركز ثقافي مهم في العالم العربي.", "lt": "Vilnius yra Lietuvos sostinė ir didžiausias šalies miestas. Čia gyvena daugiau nei pusė milijono žmonių.",
    "lv": "Rīga ir Latvijas galvaspilsēta un lielākā pilsēta valstī. Šeit dzīvo gandrīz trešdaļa valsts iedzīvotāju.", "th": "กรุงเทพมหานครเป็นเมืองหลวงและนครที่มีประชากรมากที่สุดของประเทศไทย เป็นศูนย์กลางการปกครอง",
}  # fmt: skip
CHARSETS = [
    ("euc-kr", "euc_kr", "ko"), ("ks_c_5601-1987", "cp949", "ko beyond KS X 1001"), ("cp949", "cp949", "ko"), ("gb2312", "gb2312", "zh"), ("GBK", "gbk", "zh"),
    ("gb18030", "gb18030", "zh"), ("big5", "big5", "tw"), ("Big5-HKSCS", "big5hkscs", "tw"), ("shift_jis", "cp932", "ja"), ("euc-jp", "euc_jp", "ja"),
    ("iso-2022-jp", "iso2022_jp", "ja"), ("windows-1251", "cp1251", "ru"), ("windows-1251", "cp1251", "bg"), ("koi8-r", "koi8_r", "ru"), ("koi8-u", "koi8_u", "uk"),
    ("ibm866", "cp866", "ru"), ("iso-8859-5", "iso8859_5", "ru"), ("windows-1250", "cp1250", "cs"), ("windows-1250", "cp1250", "pl"), ("iso-8859-2", "iso8859_2", "cs"),
    ("windows-1252", "cp1252", "de"), ("windows-1252", "cp1252", "en"), ("iso-8859-1", "cp1252", "fr"), ("ISO-8859-15", "iso8859_15", "es"), ("windows-1253", "cp1253", "el"),
    ("windows-1254", "cp1254", "tr"), ("iso-8859-9", "cp1254", "tr"), ("windows-1255", "cp1255", "he"), ("windows-1256", "cp1256", "ar"), ("windows-1257", "cp1257", "lt"),
    ("windows-1257", "cp1257", "lv"), ("windows-874", "cp874", "th"), ("tis-620", "cp874", "th"), ("utf-8", "utf-8", "ko"), ("windows-1250", "cp1250", "hu"),
]  # fmt: skip
UNDECLARED = [entry for entry in CHARSETS if entry[2] != "hu"]
"""Hungarian without any word of its charset is taken for Western European, by browsers as well."""


def page(text: str, head: str = "") -> str:
    return f"<!DOCTYPE html><html><head>{head}<title>News</title></head><body><article><p>{text} {text}</p></article><p>Copyright 2004</p></body></html>"


@pytest.mark.parametrize(("name", "codec", "language"), CHARSETS)
@pytest.mark.parametrize("how", ["header", "meta", "equiv", "xml"])
def test_a_declared_charset_is_right(name: str, codec: str, language: str, how: str) -> None:
    head = {
        "header": "", "meta": f"<meta charset={name}>", "xml": f'<?xml version="1.0" encoding="{name}"?>',
        "equiv": f"<META HTTP-EQUIV='Content-Type' CONTENT='text/html; charset={name}'>",
    }[how]  # fmt: skip
    text = page(TEXTS[language], head)
    data = text.encode(codec, "replace")
    assert characters_of(data, name if how == "header" else "").text == data.decode(codec)


@pytest.mark.parametrize(("name", "codec", "language"), UNDECLARED)
@pytest.mark.parametrize("wrong", ["", "utf-8", "nonsense"])
def test_a_charset_that_nobody_tells_or_that_the_bytes_contradict_is_found(
    name: str, codec: str, language: str, wrong: str
) -> None:
    data = page(TEXTS[language]).encode(codec)
    assert characters_of(data, wrong).text == page(TEXTS[language])


@pytest.mark.parametrize(
    ("language", "codec", "wrong"),
    [("en", "cp1252", "gbk"), ("fr", "cp1252", "shift_jis"), ("ru", "cp1251", "euc-jp"), ("tw", "big5", "euc-kr"), ("zh", "gbk", "big5")],
)  # fmt: skip
def test_a_charset_in_which_much_of_the_page_is_no_text_is_passed_over(language: str, codec: str, wrong: str) -> None:
    data = page(TEXTS[language]).encode(codec)
    assert characters_of(data, wrong).text == page(TEXTS[language])


CAFE = page("The menu of our café has seven kinds of tea. " * 20)
ORDER = {
    "UTF-8 undeclared": (CAFE.encode(), "", CAFE), "UTF-8 declared as Latin-1": (CAFE.encode(), "iso-8859-1", CAFE), "UTF-8 declared as GBK": (CAFE.encode(), "gbk", CAFE),
    "one word in UTF-8": ("<p>The café is open.".encode(), "windows-1252", "<p>The café is open."), "Latin-1 declared as UTF-8": (CAFE.encode("cp1252"), "utf-8", CAFE),
    "UTF-8 cut in a letter": ("<p>naïve café".encode()[:-1], "", "<p>naïve caf\ufffd"), "a stray byte in UTF-8": (CAFE.encode() * 2 + b"\xe9", "", CAFE * 2 + "\ufffd"),
    "mark over header": (b"\xef\xbb\xbf" + CAFE.encode(), "koi8-r", CAFE), "UTF-16 by mark": (b"\xff\xfe" + CAFE.encode("utf-16-le"), "", CAFE), "UTF-16 BE by mark": (b"\xfe\xff" + CAFE.encode("utf-16-be"), "utf-8", CAFE),
    "UTF-16 without a mark": (CAFE.encode("utf-16-le"), "", CAFE), "header over meta": (page("Цена", "<meta charset=koi8-r>").encode("cp1251"), "windows-1251", page("Цена", "<meta charset=koi8-r>")),
    "meta over looks": (page("Příliš", "<meta charset=windows-1250>").encode("cp1250"), "", page("Příliš", "<meta charset=windows-1250>")),
    "meta in a comment": (page(TEXTS["ru"], "<!-- <meta charset=koi8-r> -->").encode("cp1251"), "", page(TEXTS["ru"], "<!-- <meta charset=koi8-r> -->")),
    "a wrong meta": (page(TEXTS["ko"], "<meta charset=utf-8>").encode("cp949"), "", page(TEXTS["ko"], "<meta charset=utf-8>")),
    "quotes": (page("Цена").encode("cp1251"), '"Windows-1251"', page("Цена")), "by the country": (page(TEXTS["hu"]).encode("cp1250"), "", page(TEXTS["hu"])), "ASCII": (b"<p>plain", "utf-16", "<p>plain"),
    "a broken letter in Korean": (page(TEXTS["ko"] * 5, "<meta charset=euc-kr>").encode("cp949") + b"\xff", "", page(TEXTS["ko"] * 5, "<meta charset=euc-kr>") + "\ufffd"),
    "by the language": (f'<html lang="hu">{TEXTS["hu"]}'.encode("cp1250"), "", f'<html lang="hu">{TEXTS["hu"]}'), "nothing": (b"", "", ""),
}  # fmt: skip


@pytest.mark.parametrize("name", list(ORDER))
def test_mark_then_utf8_then_header_then_meta_then_looks(name: str) -> None:
    data, declared, wanted = ORDER[name]
    assert characters_of(data, declared, "hu" if name == "by the country" else "").text == wanted


def test_every_known_name_is_a_charset_of_python() -> None:
    for name, codec in CODECS.items():
        assert b"abc".decode(codec, "replace") is not None, name


@pytest.mark.parametrize("data", [bytes(range(256)) * 20_000, b"<" * 3_000_000, b"<!--" * 500_000 + b"\xff", b"<meta " * 400_000 + b"\xff", b"~{" * 1_000_000, b"\xe9" * 3_000_000],
                         ids=["all bytes", "tags", "comments", "metas", "HZ", "one letter"])  # fmt: skip
@pytest.mark.timeout(20)
def test_odd_bytes_take_no_longer_than_a_page_may(data: bytes) -> None:
    characters_of(data, "", "")


def test_an_archive_gives_the_charset_of_the_header_and_the_country_of_the_address() -> None:
    korean = http(['Content-Type: text/html; Charset="EUC-KR"'], page(TEXTS["ko"]).encode("cp949"))
    hungarian = http(body=page(TEXTS["hu"] * 4).encode("cp1250"))
    found = read(warc(korean) + warc(hungarian, WARC_Target_URI="http://a.hu/b"))
    assert TEXTS["ko"] in found[0].text
    assert TEXTS["hu"] in found[1].text
    assert [record.charset for record in found] == ["cp949", "iso8859_2"]
