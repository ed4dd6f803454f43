"""Czech."""

from services.tts.engines.xtts.reading.words.language import Words, money, units

WORDS = Words(
    plural="czech",
    point="f:celá|celé|celých|celé",
    decimals_as_number=True,
    minus="minus",
    plus="plus",
    equals="rovná se",
    times="krát",
    times_more="krát",
    to="až",
    ratio="ku",
    over="{} lomeno {}",
    fractions=("jedna polovina", "jedna třetina", "dvě třetiny", "jedna čtvrtina", "tři čtvrtiny"),
    half_more="a půl",
    dot="tečka",
    slash="lomítko",
    dash="pomlčka",
    underscore="podtržítko",
    at="zavináč",
    number="číslo",
    hash="hashtag",
    version="verze",
    signs={"&": "a", "§": "paragraf", "±": "plus minus", "≈": "přibližně", "÷": "děleno", "°": "stupňů"},
    per="za",
    percent="n:procento|procenta|procent|procenta",
    months=(
        *("ledna", "února", "března", "dubna", "května", "června"),
        *("července", "srpna", "září", "října", "listopadu", "prosince"),
    ),
    day="genitive",
    full_hour="{hours}",
    hour="f:hodina|hodiny|hodin|hodiny",
    zero_minute="nula",
    clock_word=r"hodin[ay]?|hod\.?|h",
    money=money(
        "n:euro|eura|eur|eura/cent|centy|centů, dolar|dolary|dolarů|dolaru/cent|centy|centů, "
        "f:libra|libry|liber|libry/pence, jen|jeny|jenů|jenu, won|wony|wonů|wonu, f:rupie|rupie|rupií|rupie, "
        "zlotý|zloté|zlotých|zlotého, f:koruna|koruny|korun|koruny/haléř|haléře|haléřů, "
        "forint|forinty|forintů|forintu, f:lira|liry|lir|liry, rubl|rubly|rublů|rublu, real|realy|realů|realu, "
        "frank|franky|franků|franku"
    ),
    scales={
        "tis.": "tisíc|tisíce|tisíc|tisíce", "mil.": "milion|miliony|milionů|milionu",
        "mld.": "f:miliarda|miliardy|miliard|miliardy", "milionů": "milion|miliony|milionů|milionu",
    },
    units=units(
        "kilo centi mili mega giga tera",
        "m metr|metry|metrů|metru, g gram|gramy|gramů|gramu, l litr|litry|litrů|litru, "
        "s f:sekunda|sekundy|sekund|sekundy, B bajt|bajty|bajtů|bajtu, Hz hertz|hertzy|hertzů|hertzu, "
        "W watt|watty|wattů|wattu, Wh f:watthodina|watthodiny|watthodin|watthodiny, V volt|volty|voltů|voltu, "
        "cal f:kalorie|kalorie|kalorií|kalorie, t f:tuna|tuny|tun|tuny, h f:hodina|hodiny|hodin|hodiny, "
        "min f:minuta|minuty|minut|minuty, °C stupeň celsia|stupně celsia|stupňů celsia|stupně celsia, "
        "°F stupeň fahrenheita|stupně fahrenheita|stupňů fahrenheita|stupně fahrenheita, "
        "° stupeň|stupně|stupňů|stupně, m² metr čtvereční|metry čtvereční|metrů čtverečních|metru čtverečního, "
        "km² kilometr čtvereční|kilometry čtvereční|kilometrů čtverečních|kilometru čtverečního, "
        "m³ metr krychlový|metry krychlové|metrů krychlových|metru krychlového, "
        "km/h kilometr za hodinu|kilometry za hodinu|kilometrů za hodinu|kilometru za hodinu, "
        "m/s metr za sekundu|metry za sekundu|metrů za sekundu|metru za sekundu, ha hektar|hektary|hektarů|hektaru"
    ),
    abbreviations={
        "např.": "například", "atd.": "a tak dále", "apod.": "a podobně", "tj.": "to jest", "tzn.": "to znamená",
        "tzv.": "takzvaný", "cca": "cirka", "ul.": "ulice", "nám.": "náměstí", "tř.": "třída", "mj.": "mimo jiné",
        "dr.": "doktor", "ing.": "inženýr", "mgr.": "magistr", "bc.": "bakalář", "prof.": "profesor", "p.": "pan",
        "pí.": "paní", "sv.": "svatý", "tel.": "telefon", "č.": "číslo", "resp.": "respektive", "popř.": "popřípadě",
        "př. n. l.": "před naším letopočtem", "n. l.": "našeho letopočtu", "odd.": "oddělení", "jr.": "junior",
        "doc.": "docent",
    },
    before_figures={
        "s.": "strana", "str.": "strana", "kap.": "kapitola", "obr.": "obrázek", "odst.": "odstavec", "čl.": "článek",
    },
    dot_ordinal=True,
    bare_day_and_month=True,
    ordinal_nouns={"a": "f", "o": "n", "e": "n"},
    endings={
        "m": (("^jedna$", "jeden"),),
        "f": ((r"\bdva$", "dvě"), (r"ý\b", "á")),
        "n": (("^jedna$", "jedno"), (r"\bdva$", "dvě"), (r"ý\b", "é")),
        "genitive": ((r"ý\b", "ého"), (r"í\b", "ího")),
    },
)  # fmt: skip
