"""The hint about a text's language. The sentences were written after the rule was fixed, to see how much it notices."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.review import clean
from torchserve.language import WORDS_FILES, Language

SHARED = Path(__file__).parents[3] / "shared" / "data"

OTHER_LANGUAGES = {
    "German": (
        "Das Spiel stürzt ständig ab, ich will mein Geld zurück.",
        "Für diesen Preis absolut in Ordnung, klare Kaufempfehlung!",
        "Meine Tochter liebt die Puppe und spielt jeden Tag damit.",
    ),
    "French": (
        "Le jeu plante sans arrêt, je veux être remboursé.",
        "Rien à dire pour ce prix, je le recommande vivement !",
        "Ma fille adore cette poupée et joue avec tous les jours.",
    ),
    "Spanish": (
        "El juego se cierra todo el tiempo, quiero mi dinero de vuelta.",
        "Por este precio está muy bien, totalmente recomendable.",
        "A mi hija le encanta la muñeca y juega con ella todos los días.",
    ),
    "Portuguese": (
        "O jogo trava o tempo todo, quero meu dinheiro de volta.",
        "Por esse preço vale muito a pena, recomendo bastante.",
        "Minha filha adora a boneca e brinca com ela todos os dias.",
    ),
    "Italian": (
        "Il gioco si blocca di continuo, rivoglio i miei soldi.",
        "Per questo prezzo va benissimo, consigliatissimo a tutti.",
        "Mia figlia adora la bambola e ci gioca tutti i giorni.",
    ),
    "Dutch": (
        "Het spel loopt steeds vast, ik wil mijn geld terug.",
        "Voor deze prijs helemaal prima, zeker een aanrader.",
        "Mijn dochter is dol op de pop en speelt er elke dag mee.",
    ),
    "Polish": (
        "Gra ciągle się zawiesza, chcę zwrotu pieniędzy.",
        "Za tę cenę jest w porządku, zdecydowanie polecam.",
        "Moja córka uwielbia tę lalkę i bawi się nią codziennie.",
    ),
    "Turkish": (
        "Oyun sürekli donuyor, paramı geri istiyorum.",
        "Bu fiyata gayet iyi, kesinlikle tavsiye ediyorum.",
        "Kızım bebeği çok seviyor ve her gün onunla oynuyor.",
    ),
    "Vietnamese": (
        "Trò chơi bị treo liên tục, tôi muốn hoàn tiền.",
        "Với giá này thì rất ổn, nên mua nhé.",
        "Con gái tôi rất thích búp bê và chơi mỗi ngày.",
    ),
    "Swedish": (
        "Spelet kraschar hela tiden, jag vill ha pengarna tillbaka.",
        "Min dotter älskar dockan och leker varje dag.",
    ),
    "Indonesian": (
        "Permainannya macet terus, saya mau uang kembali.",
        "Anak saya suka sekali boneka ini, dimainkan setiap hari.",
    ),
    "Swahili": ("Mchezo huu unakwama kila wakati, nataka pesa zangu.", "Binti yangu anapenda mdoli huyu sana."),
    "Hindi in Latin letters": (
        "Bahut bekar hai, paisa barbad ho gaya, mat lena bhai.",
        "Ekdum mast cheez hai yaar, sabko pasand aayi.",
    ),
}  # fmt: skip
SHORT = (
    "Muy buen producto, gracias.",
    "Sehr schön, danke sehr!",
    "Très déçue, vraiment nulle.",
    "Heel erg mooi, bedankt.",
)
OTHER_SCRIPTS = (
    "Игра всё время зависает, верните деньги.", "Отлично!", "Το παιχνίδι κολλάει συνέχεια.", "اللعبة تتوقف دائما",
    "המשחק נתקע כל הזמן", "खेल बार-बार अटक जाता है।", "游戏老是卡住,我要退款。", "很好", "ゲームがいつも固まります。",
    "게임이 계속 멈춰요.", "เกมค้างตลอดเวลา", "гра", "Sony 这个耳机的声音非常好", "𝓰𝓻𝓮𝓪𝓽 𝓹𝓻𝓸𝓭𝓾𝓬𝓽",
)  # fmt: skip
ENGLISH = (
    "", "Ok", "Great!", "Awful.", "Five stars", "Excelente!", "Love it ❤️❤️❤️", "5/5", "👍👍👍", "...", "A+++++",
    "Battery died after two days.", "Broke after two days.", "Exactly what my niece wanted!", "Never again",
    "The café's crème brûlée torch works fine.", "It weighs 5 µg less than the old one, and the Ω is printed wrong.",
    "Nikon D7000 AF-S 18-105mm lens kit: sharp, light, and worth the price.", "Dont waste ur money its a scam lol",
    "My daughter’s favorite. It’s the best we’ve had so far!", "Installed in minutes on Windows 7 Professional",
    "Works as advertised", "terible custmer servise, never agin", "Quick delivery, item as described, thank you",
    "Bought this for my abuela and she loves it, muy bueno", "Norton AntiVirus slows my computer down to a crawl.",
)  # fmt: skip


@pytest.fixture(scope="module")
def language() -> Language:
    return Language("en")


def test_the_words_are_a_thousand() -> None:
    words = WORDS_FILES["en"].read_text(encoding="ascii").split()
    assert len(words) == len(set(words)) == 1000
    assert all(word == word.lower() for word in words)


@pytest.mark.parametrize("text", ENGLISH)
def test_english_gets_no_hint(language: Language, text: str) -> None:
    assert language.unfamiliar(clean(text)) is None


def test_sentences_in_other_languages_are_noticed(language: Language) -> None:
    sentences = [(name, sentence) for name, each in OTHER_LANGUAGES.items() for sentence in each]
    missed = [each for each in sentences if language.unfamiliar(clean(each[1])) != "language"]
    assert len(missed) <= len(sentences) // 20, missed


@pytest.mark.parametrize("text", SHORT)
def test_four_words_are_enough(language: Language, text: str) -> None:
    assert language.unfamiliar(clean(text)) == "language"
    assert language.unfamiliar(" ".join(clean(text).split()[:3])) is None


@pytest.mark.parametrize("text", OTHER_SCRIPTS)
def test_other_scripts_are_noticed_in_few_letters(language: Language, text: str) -> None:
    assert language.unfamiliar(clean(text)) == "script"


@given(st.text())
def test_any_text_gets_an_answer(language: Language, text: str) -> None:
    assert language.unfamiliar(clean(text)) in (None, "script", "language")


@pytest.mark.skipif(not SHARED.is_dir(), reason="no labelled reviews beside the project")
@pytest.mark.shared
def test_real_english_reviews_rarely_get_a_hint(language: Language) -> None:
    """Fewer than three in a thousand of these 14,000; measured is one in a thousand."""
    [file] = SHARED.glob("*_Baby_*.tsv.gz")
    bodies = [line.split("\t")[13] for line in gzip.decompress(file.read_bytes()).decode().splitlines()[1:]]
    hints = [language.unfamiliar(clean(body)) for body in bodies]
    assert len(hints) > 10_000
    assert sum(hint is not None for hint in hints) < 0.003 * len(hints)


def test_nothing_is_said_where_the_model_learnt_another_language() -> None:
    assert Language("fr").unfamiliar("Das Gerät ist nach zwei Tagen kaputt gegangen, leider nie wieder") is None
