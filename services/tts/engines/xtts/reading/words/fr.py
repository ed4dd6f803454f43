"""French, of France."""

from services.tts.engines.xtts.reading.words.language import Words, money, units

WORDS = Words(
    plural="french",
    point="virgule",
    decimals_as_number=True,
    minus="moins",
    plus="plus",
    equals="égale",
    times="fois",
    times_more="f:fois",
    to="à",
    ratio="à",
    over="{} sur {}",
    fractions=("un demi", "un tiers", "deux tiers", "un quart", "trois quarts"),
    half_more="et demi",
    dot="point",
    slash="barre oblique",
    dash="tiret",
    underscore="tiret bas",
    at="arobase",
    number="numéro",
    hash="hashtag",
    version="version",
    signs={"&": "et", "§": "paragraphe", "±": "plus ou moins", "≈": "environ", "÷": "divisé par", "°": "degrés"},
    per="par",
    percent="pour cent",
    months=(
        *("janvier", "février", "mars", "avril", "mai", "juin"),
        *("juillet", "août", "septembre", "octobre", "novembre", "décembre"),
    ),
    first_day="premier",
    clock="{hours} {minute}",
    full_hour="{hours}",
    hour="f:heure|heures",
    clock_word="heures?|h",
    money=money(
        "euro|euros/centime|centimes, dollar|dollars/cent|cents, f:livre|livres/penny|pence, yen|yens, won|wons, "
        "f:roupie|roupies, zloty|zlotys, f:couronne|couronnes, forint|forints, f:livre turque|livres turques, "
        "rouble|roubles, réal|réaux, franc|francs/centime|centimes"
    ),
    money_says_cents=False,
    scales={
        "k": "mille", "M": "million de|millions de", "millions": "million de|millions de",
        "Md": "milliard de|milliards de", "Mds": "milliard de|milliards de", "milliards": "milliard de|milliards de",
    },
    units=units(
        "kilo centi milli méga giga téra",
        "m mètre|mètres, g gramme|grammes, l litre|litres, s f:seconde|secondes, B octet|octets, Hz hertz, "
        "W watt|watts, Wh wattheure|wattheures, V volt|volts, cal calorie|calories, t f:tonne|tonnes, "
        "h f:heure|heures, min f:minute|minutes, Ko kilooctet|kilooctets, Mo mégaoctet|mégaoctets, "
        "Go gigaoctet|gigaoctets, To téraoctet|téraoctets, °C degré celsius|degrés celsius, "
        "°F degré fahrenheit|degrés fahrenheit, ° degré|degrés, m² mètre carré|mètres carrés, "
        "km² kilomètre carré|kilomètres carrés, m³ mètre cube|mètres cubes, km/h kilomètre heure|kilomètres heure, "
        "m/s mètre par seconde|mètres par seconde, dB décibel|décibels, ha hectare|hectares"
    ),
    abbreviations={
        "M. et Mme": "monsieur et madame", "M.": "monsieur", "MM.": "messieurs", "Mr.": "monsieur", "Mme": "madame",
        "Mme.": "madame", "Mmes": "mesdames", "Mlle": "mademoiselle", "Mlle.": "mademoiselle", "Dr": "docteur",
        "Dr.": "docteur", "Pr.": "professeur", "St.": "saint", "Ste.": "sainte", "p.ex.": "par exemple",
        "par ex.": "par exemple", "c.-à-d.": "c'est-à-dire", "etc.": "et cetera", "env.": "environ", "av.": "avenue",
        "bd.": "boulevard", "boul.": "boulevard", "av. J.-C.": "avant jésus-christ", "apr. J.-C.": "après jésus-christ",
        "tél.": "téléphone", "cf.": "confer", "éd.": "édition", "n°": "numéro", "nº": "numéro",
        "svp": "s'il vous plaît", "s.v.p.": "s'il vous plaît", "ltd.": "limitée", "jr.": "junior",
    },
    before_figures={
        "vol.": "volume", "p.": "page", "pp.": "pages", "art.": "article", "chap.": "chapitre", "fig.": "figure",
        "no": "numéro",
    },
    ordinal_signs={"er": "", "re|ère": "f", "e|ème|eme|ième|nd": "", "nde": "f"},
    says_pairs=True,
    elisions=((r"\b(milli(?:on|ard)s?) de (?=[aeiouéè])", r"\1 d'"),),
    endings={
        "f": ((r"\bun$", "une"), ("premier$", "première")),
    },
)  # fmt: skip
