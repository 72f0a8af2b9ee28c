"""Words to learn speech from: spoken by programs, in many languages and voices, some of them without meaning.

Rule: no recording is read. Voices are those of espeak-ng, and of flite where it is installed.
"""

import io
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import soundfile

from l3clf.audio.clip import FloatArray
from l3clf.errors import MissingDependencyError

__all__ = ["Utterance", "utterances"]

TIMEOUT_S = 20
WORDS = {
    "en-us en-gb en-gb-scotland en-029 en-gb-x-rp en-us-nyc": """zero one two three four five six seven eight nine ten
        eleven twelve twenty hundred yes no stop go left right up down on off open close start hello please thank you
        light music louder quiet house water mother father school morning evening kitchen window garden river mountain
        paper bottle table chair coffee bread apple orange doctor teacher police fire help danger happy green yellow
        purple black white monday tuesday friday january august winter summer bicycle train engine computer telephone
        picture story number letter question answer minute second yesterday tomorrow between under because although
        maybe never always quickly follow visual forward backward learn sheila marvin wow tree bird cat dog bed""",
    "de": """null eins zwei drei vier fünf sechs sieben acht neun zehn zwölf hundert ja nein halt los links rechts oben
        unten Licht Wasser Fenster Straße Schlüssel Morgen heute Küche Garten Brücke Freund schnell langsam""",
    "fr-fr": """zéro un deux trois quatre cinq six sept huit neuf dix cent oui non arrête gauche droite lumière eau
        fenêtre rue demain aujourd'hui cuisine jardin pont ami vite merci bonjour""",
    "es es-419": """cero uno dos tres cuatro cinco seis siete ocho nueve diez cien sí no alto izquierda derecha luz agua
        ventana calle mañana hoy cocina jardín puente amigo rápido gracias hola perro""",
    "it": """zero uno due tre quattro cinque sei sette otto nove dieci cento sì no ferma sinistra destra luce acqua
        finestra strada domani oggi cucina giardino ponte amico veloce grazie ciao""",
    "nl": """nul een twee drie vier vijf zes zeven acht negen tien honderd ja nee stop links rechts licht raam straat
        morgen vandaag keuken tuin brug vriend snel dank huis""",
    "pl": """zero jeden dwa trzy cztery pięć sześć siedem osiem dziewięć dziesięć sto tak nie lewo prawo światło woda
        okno ulica jutro dzisiaj kuchnia ogród most szybko dziękuję""",
    "pt pt-br": """zero um dois três quatro cinco seis sete oito nove dez cem sim não pare esquerda direita luz água
        janela rua amanhã hoje cozinha jardim ponte amigo rápido obrigado""",
    "sv": """noll ett två tre fyra fem sex sju åtta nio tio hundra ja nej stopp vänster höger ljus vatten fönster gata
        imorgon idag kök trädgård bro vän snabbt tack""",
    "cs": """nula jedna dva tři čtyři pět šest sedm osm devět deset sto ano ne vlevo vpravo světlo voda okno ulice
        zítra dnes kuchyně zahrada most přítel rychle děkuji""",
    "tr": """sıfır bir iki üç dört beş altı yedi sekiz dokuz on yüz evet hayır dur sol sağ ışık su pencere sokak yarın
        bugün mutfak bahçe köprü arkadaş hızlı teşekkürler""",
    "fi": """nolla yksi kaksi kolme neljä viisi kuusi seitsemän kahdeksan yhdeksän kymmenen sata kyllä ei seis vasen
        oikea valo vesi ikkuna katu huomenna tänään keittiö puutarha silta ystävä""",
    "ru": """ноль один два три четыре пять шесть семь восемь девять десять сто да нет стоп лево право свет вода окно
        улица завтра сегодня кухня сад мост друг быстро спасибо""",
    "hi": """शून्य एक दो तीन चार पांच छह सात आठ नौ दस सौ हाँ नहीं रुको बाएं दाएं पानी खिड़की कल आज रसोई बगीचा""",
    "id": """nol satu dua tiga empat lima enam tujuh delapan sembilan sepuluh seratus ya tidak kiri kanan cahaya air
        jendela jalan besok dapur kebun jembatan""",
    "sw": """sifuri moja mbili tatu nne tano sita saba nane tisa kumi mia ndiyo hapana kushoto kulia maji dirisha kesho
        leo jiko bustani daraja rafiki""",
    "hu": """nulla egy kettő három négy öt hat hét nyolc kilenc tíz száz igen nem bal jobb fény víz ablak utca holnap ma
        konyha kert híd barát gyorsan""",
    "ro": """zero unu doi trei patru cinci șase șapte opt nouă zece sută da nu stânga dreapta lumină apă fereastră
        stradă mâine azi bucătărie grădină pod""",
}
VARIANTS = ("m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "f1", "f2", "f3", "f4", "f5", "croak", "whisper", "klatt",
            "klatt2", "klatt3")  # fmt: skip
FLITE_VOICES = ("awb", "rms", "slt", "kal16", "kal")
ONSETS = "p b t d k g f v s z m n l r w h sh ch th j tr st pl br sk".split()  # noqa: SIM905
NUCLEI, CODAS = "a e i o u ai au oo ee".split(), ["", "", "", *"n m s t k l r p sh ng".split()]  # noqa: SIM905
NONSENSE, BY_FLITE, PHRASE = 0.3, 0.3, 0.25  # shares


@dataclass(frozen=True)
class Utterance:
    """What was spoken."""

    samples: FloatArray
    rate_hz: int


def utterances(n: int, seed: int = 0) -> Iterator[Utterance]:
    """Yield `n` utterances of one to three words, each with a drawn voice, speed and pitch.

    Raises
    ------
    MissingDependencyError
        If espeak-ng is not installed, or fails.
    """
    espeak, flite = shutil.which("espeak-ng"), shutil.which("flite")
    if espeak is None:
        raise MissingDependencyError(
            "utterances need the program espeak-ng; install it (Debian: apt install espeak-ng)"
        )
    for i in range(n):
        rng = np.random.default_rng([seed, i])
        by_flite = flite is not None and rng.random() < BY_FLITE
        # English more often than any other language; flite speaks nothing else.
        place = 0 if by_flite or rng.random() < 0.3 else int(rng.integers(len(WORDS)))
        voices, words = list(WORDS.items())[place]
        text = _text(words.split(), rng)
        if by_flite:
            stretch = f"duration_stretch={rng.uniform(0.7, 1.4):.2f}"
            options = ["-voice", str(rng.choice(FLITE_VOICES)), "--setf", stretch, "-t", text, "-o", "/dev/stdout"]
            yield _said([str(flite), *options])
        else:
            voice = f"{rng.choice(voices.split())}+{rng.choice(VARIANTS)}"
            options = ["-v", voice, "-s", str(rng.integers(100, 270)), "-p", str(rng.integers(5, 96)), "--stdout"]
            yield _said([espeak, *options, "--", text])


def _text(words: list[str], rng: np.random.Generator) -> str:
    n = int(rng.integers(2, 4)) if rng.random() < PHRASE else 1
    if rng.random() < NONSENSE:
        return " ".join(_nonsense(rng) for _ in range(n))
    return " ".join(str(rng.choice(words)) for _ in range(n))


def _nonsense(rng: np.random.Generator) -> str:
    syllables = (rng.choice(ONSETS) + rng.choice(NUCLEI) + rng.choice(CODAS) for _ in range(int(rng.integers(1, 4))))
    return "".join(syllables)


def _said(command: list[str]) -> Utterance:
    try:
        answer = subprocess.run(command, capture_output=True, check=True, timeout=TIMEOUT_S)  # noqa: S603
        samples, rate = soundfile.read(io.BytesIO(answer.stdout), dtype="float32")
    except (subprocess.SubprocessError, OSError, soundfile.LibsndfileError) as error:
        raise MissingDependencyError(f"{command[0]} did not speak ({error}); install it again") from None
    return Utterance(samples, int(rate))
