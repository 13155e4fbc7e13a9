"""Ordinary prose of many languages is kept by Gopher's rules; prose without any stop word of its language is not."""

import pytest
from llmtrain_jobs.curation.signals.stopwords import LONGER_CODES, STOP_WORDS, UNSPACED, stop_words

from tests.unit.jobs.curation.world import World, jsonl

pytestmark = pytest.mark.timeout(300)
PROSE = {
    "en": "The old harbour of the town lies behind a long wall, and in the morning the boats come back with their fish. Many people wait there to buy what the night has brought, while children run along the quay. In the afternoon it becomes quiet again, because most of the men sleep and the shops are closed until the evening.",
    "de": "Der alte Hafen der Stadt liegt hinter einer langen Mauer, und am Morgen kommen die Boote mit ihren Fischen zurück. Viele Leute warten dort, um zu kaufen, was die Nacht gebracht hat, während Kinder am Kai entlanglaufen. Am Nachmittag wird es wieder still, weil die meisten Männer schlafen und die Läden bis zum Abend geschlossen sind.",
    "fr": "Le vieux port de la ville se trouve derrière un long mur, et le matin les bateaux reviennent avec leurs poissons. Beaucoup de gens y attendent pour acheter ce que la nuit a apporté, pendant que les enfants courent sur le quai. Dans l'après-midi tout redevient calme, car la plupart des hommes dorment et les magasins sont fermés jusqu'au soir.",
    "ru": "Старый порт города лежит за длинной стеной, и утром лодки возвращаются с рыбой. Многие люди ждут там, чтобы купить то, что принесла ночь, а дети бегают по набережной. После обеда снова становится тихо, потому что большинство мужчин спит и магазины закрыты до самого вечера. Зимой ветер с моря так силён, что никто не выходит из дома без тёплой одежды, и только чайки летают над водой.",
    "es": "El viejo puerto de la ciudad está detrás de un largo muro, y por la mañana los barcos vuelven con sus peces. Mucha gente espera allí para comprar lo que la noche ha traído, mientras los niños corren por el muelle. Por la tarde vuelve la calma, porque la mayoría de los hombres duerme y las tiendas están cerradas hasta la noche.",
    "ja": "町の古い港は長い壁の後ろにあり、朝になると船が魚を積んで戻ってきます。多くの人々がそこで夜の間にとれたものを買おうと待っていて、子供たちは岸壁を走り回ります。午後になると再び静かになります。男たちの多くは眠り、店は夕方まで閉まっているからです。冬は海からの風がとても強く、暖かい服なしでは誰も外に出ません。",
    "zh": "这座城市的老港口位于一堵长墙的后面，早晨渔船带着鱼回来。许多人在那里等着购买夜里捕到的东西，孩子们则沿着码头奔跑。下午又变得安静起来，因为大多数男人在睡觉，商店要到晚上才开门。冬天从海上吹来的风非常大，没有人不穿暖和的衣服就出门，只有海鸥在水面上飞翔。",
    "ar": "يقع ميناء المدينة القديم خلف جدار طويل، وفي الصباح تعود القوارب مع السمك. ينتظر كثير من الناس هناك من أجل شراء ما جلبه الليل، بينما يركض الأطفال على الرصيف. في المساء يعود الهدوء إلى المكان، لأن معظم الرجال ينامون والمتاجر مغلقة حتى الليل. وفي الشتاء تكون الرياح القادمة من البحر قوية جدا، فلا يخرج أحد من البيت من دون ملابس دافئة.",
    "hi": "शहर का पुराना बंदरगाह एक लंबी दीवार के पीछे है और सुबह नावें मछलियों के साथ लौटती हैं। बहुत से लोग वहाँ रात में पकड़ी गई चीज़ें ख़रीदने के लिए इंतज़ार करते हैं, जबकि बच्चे घाट पर दौड़ते हैं। दोपहर में फिर से शांति हो जाती है, क्योंकि ज़्यादातर पुरुष सोते हैं और दुकानें शाम तक बंद रहती हैं। सर्दियों में समुद्र की हवा बहुत तेज़ होती है।",
}  # fmt: skip


def kept(world: World, texts: list[str], code: str) -> tuple[int, dict[str, int]]:
    """Documents kept of each text forty times, numbered so that they differ; and by fate."""
    rows = [{"text": f"{text} {number}"} for text in texts for number in range(40)]
    jsonl(world.root / "in" / "a.jsonl", rows)
    filters = {"languages": [{"code": code}]}
    spec = {"deduplication": {"exact": False, "minHash": {"enabled": False}}, "filters": filters}
    fates = {name: fate["documents"] for name, fate in world.report(world.run(spec))["ledger"]["fates"].items()}
    return fates.get("kept", 0) + fates.get("heldOut", 0), fates


@pytest.mark.parametrize("code", list(PROSE))
def test_ordinary_prose_is_kept_by_gopher(world: World, code: str) -> None:
    assert kept(world, [PROSE[code]], code)[0] == 40


def test_stop_words_are_those_of_the_documents_own_language(world: World) -> None:
    words = PROSE["de"].split()
    without = " ".join(word for word in words if word not in stop_words("de")) + " Nachmittag Hafenstadt" * 4
    count, fates = kept(world, [PROSE["de"], without], "de")
    assert (count, fates["gopher.minStopWords"]) == (40, 40)


def test_a_short_text_without_spaces_has_too_few_words(world: World) -> None:
    count, fates = kept(world, [PROSE["zh"], PROSE["zh"][:35]], "zh")
    assert (count, fates["gopher.minWords"]) == (40, 40)


def test_lists_are_of_eight_words_and_their_codes_are_known() -> None:
    assert all(len(set(words)) == 8 for words in STOP_WORDS.values())
    assert set(LONGER_CODES.values()) == set(STOP_WORDS)
    assert stop_words("deu") == stop_words("de") != stop_words("xx") == ()
    assert not set(UNSPACED) & (set(STOP_WORDS) | set(LONGER_CODES))
