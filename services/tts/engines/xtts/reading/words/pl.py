"""Polish."""

from services.tts.engines.xtts.reading.words.language import Words, money, units

WORDS = Words(
    plural="polish",
    point="przecinek",
    decimals_as_number=True,
    minus="minus",
    plus="plus",
    equals="równa się",
    times="razy",
    times_more="raz|razy|razy|raza",
    to="-",
    ratio="",
    over="{} przez {}",
    fractions=("jedna druga", "jedna trzecia", "dwie trzecie", "jedna czwarta", "trzy czwarte"),
    half_more="i pół",
    dot="kropka",
    slash="ukośnik",
    dash="myślnik",
    underscore="podkreślnik",
    at="małpa",
    number="numer",
    hash="hasztag",
    version="wersja",
    signs={"&": "i", "§": "paragraf", "±": "plus minus", "≈": "około", "÷": "podzielić przez", "°": "stopni"},
    per="na",
    percent="procent",
    months=(
        *("stycznia", "lutego", "marca", "kwietnia", "maja", "czerwca"),
        *("lipca", "sierpnia", "września", "października", "listopada", "grudnia"),
    ),
    day="genitive",
    year_form="genitive",
    date="{day} {month} {year} roku",
    zero_minute="zero",
    hour_form="hour",
    hour_prepositions="o|po|przed|od|do|około|godz.|godzinie|o godz.",
    money=money(
        "n:euro/cent|centy|centów, dolar|dolary|dolarów|dolara/cent|centy|centów, "
        "funt|funty|funtów|funta/pens|pensy|pensów, jen|jeny|jenów|jena, won|wony|wonów|wona, "
        "f:rupia|rupie|rupii|rupii, złoty|złote|złotych|złotego/grosz|grosze|groszy, f:korona|korony|koron|korony, "
        "forint|forinty|forintów|forinta, f:lira|liry|lir|liry, rubel|ruble|rubli|rubla, real|reale|reali|reala, "
        "frank|franki|franków|franka"
    ),
    scales={
        "tys.": "tysiąc|tysiące|tysięcy|tysiąca", "mln": "milion|miliony|milionów|miliona",
        "mld": "miliard|miliardy|miliardów|miliarda",
    },
    units=units(
        "kilo centy mili mega giga tera",
        "m metr|metry|metrów|metra, g gram|gramy|gramów|grama, l litr|litry|litrów|litra, "
        "s f:sekunda|sekundy|sekund|sekundy, B bajt|bajty|bajtów|bajta, Hz herc|herce|herców|herca, "
        "W wat|waty|watów|wata, Wh f:watogodzina|watogodziny|watogodzin|watogodziny, V wolt|wolty|woltów|wolta, "
        "cal f:kaloria|kalorie|kalorii|kalorii, t f:tona|tony|ton|tony, h f:godzina|godziny|godzin|godziny, "
        "godz. f:godzina|godziny|godzin|godziny, min f:minuta|minuty|minut|minuty, "
        "sek. f:sekunda|sekundy|sekund|sekundy, "
        "°C stopień celsjusza|stopnie celsjusza|stopni celsjusza|stopnia celsjusza, "
        "°F stopień fahrenheita|stopnie fahrenheita|stopni fahrenheita|stopnia fahrenheita, "
        "° stopień|stopnie|stopni|stopnia, "
        "m² metr kwadratowy|metry kwadratowe|metrów kwadratowych|metra kwadratowego, "
        "km² kilometr kwadratowy|kilometry kwadratowe|kilometrów kwadratowych|kilometra kwadratowego, "
        "m³ metr sześcienny|metry sześcienne|metrów sześciennych|metra sześciennego, "
        "km/h kilometr na godzinę|kilometry na godzinę|kilometrów na godzinę|kilometra na godzinę, "
        "m/s metr na sekundę|metry na sekundę|metrów na sekundę|metra na sekundę, ha hektar|hektary|hektarów|hektara"
    ),
    abbreviations={
        "np.": "na przykład", "itd.": "i tak dalej", "itp.": "i tym podobne", "tzn.": "to znaczy",
        "m.in.": "między innymi", "tj.": "to jest", "tzw.": "tak zwany", "ul.": "ulica", "al.": "aleja",
        "prof.": "profesor", "dr": "doktor", "dr.": "doktor", "mgr": "magister", "inż.": "inżynier", "św.": "święty",
        "ks.": "ksiądz", "p.": "pan", "P.": "pan", "tel.": "telefon", "o godz.": "o godzinie", "godz.": "godzina",
        "wg": "według", "jw.": "jak wyżej", "n.e.": "naszej ery", "p.n.e.": "przed naszą erą", "cd.": "ciąg dalszy",
        "ww.": "wyżej wymieniony", "br.": "bieżącego roku", "nr": "numer", "maks.": "maksymalnie", "jr.": "junior",
        "zob.": "zobacz",
    },
    before_figures={
        "ok.": "około", "s.": "strona", "str.": "strona", "rozdz.": "rozdział", "art.": "artykuł", "t.": "tom",
        "rys.": "rysunek",
    },
    dot_ordinal=True,
    ordinal_nouns={"a": "f", "o": "n", "e": "n", "ę": "f accusative"},
    years=(
        (r"\b[Ww]e?\s", r"(?:roku|r\.)", "locative", "roku"),
        ("", r"(?:roku|r\.)", "genitive", "roku"),
        ("", "rok", "", "rok"),
    ),
    endings={
        "f": (("^jeden$", "jedna"), (r"\bdwa$", "dwie")),
        "ordinal f": ((r"gi\b", "ga"), (r"ci\b", "cia"), (r"y\b", "a")),
        "n": (("^jeden$", "jedno"),),
        "ordinal n": ((r"i\b", "ie"), (r"y\b", "e")),
        "genitive": ((r"i\b", "iego"), (r"(?<!trz)(?<!ter)y\b", "ego")),
        "locative": ((r"i\b", "im"), (r"(?<!trz)(?<!ter)y\b", "ym")),
        "f accusative": ((r"gi\b", "gą"), (r"ci\b", "cią"), (r"y\b", "ą")),
        "hour": ((r"gi\b", "ga"), (r"ci\b", "cia"), (r"y\b", "a")),
        "hour behind": ((r"gi\b", "giej"), (r"ci\b", "ciej"), (r"y\b", "ej")),
    },
)  # fmt: skip
