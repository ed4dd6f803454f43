"""Italian."""

from services.tts.engines.xtts.reading.words.language import Words, money, units

WORDS = Words(
    point="virgola",
    decimals_as_number=True,
    minus="meno",
    plus="più",
    equals="uguale",
    times="per",
    times_more="f:volta|volte",
    to="a",
    ratio="a",
    over="{} su {}",
    fractions=("un mezzo", "un terzo", "due terzi", "un quarto", "tre quarti"),
    half_more="e mezzo",
    dot="punto",
    slash="barra",
    dash="trattino",
    underscore="trattino basso",
    at="chiocciola",
    number="numero",
    hash="hashtag",
    version="versione",
    signs={"&": "e", "§": "paragrafo", "±": "più o meno", "≈": "circa", "÷": "diviso", "°": "gradi"},
    per="al",
    percent="per cento",
    months=(
        *("gennaio", "febbraio", "marzo", "aprile", "maggio", "giugno"),
        *("luglio", "agosto", "settembre", "ottobre", "novembre", "dicembre"),
    ),
    first_day="primo",
    clock="{hour} e {minute}",
    dotted_time="[Oo]re|[Aa]lle|[Dd]alle",
    hour="f:ora|ore",
    money=money(
        "euro/centesimo|centesimi, dollaro|dollari/centesimo|centesimi, f:sterlina|sterline/penny|pence, yen, won, "
        "f:rupia|rupie, zloty, f:corona|corone, fiorino|fiorini, f:lira|lire, rublo|rubli, real|reais, franco|franchi"
    ),
    money_format="{whole} e {cents}",
    money_says_cents=False,
    scales={
        "mln": "milione di|milioni di", "milioni": "milione di|milioni di", "mld": "miliardo di|miliardi di",
        "miliardi": "miliardo di|miliardi di",
    },
    units=units(
        "chilo centi milli mega giga tera",
        "m metro|metri, g grammo|grammi, l litro|litri, s secondo|secondi, B byte, Hz hertz, W watt, Wh wattora, "
        "V volt, cal calorie|calorie, kB kilobyte, t f:tonnellata|tonnellate, h f:ora|ore, min minuto|minuti, "
        "°C grado celsius|gradi celsius, °F grado fahrenheit|gradi fahrenheit, ° grado|gradi, "
        "m² metro quadrato|metri quadrati, mq metro quadrato|metri quadrati, "
        "km² chilometro quadrato|chilometri quadrati, m³ metro cubo|metri cubi, "
        "km/h chilometro orario|chilometri orari, m/s metro al secondo|metri al secondo, dB decibel, ha ettaro|ettari"
    ),
    abbreviations={
        "sig.": "signor", "sig.ra": "signora", "sig.na": "signorina", "sigg.": "signori", "dott.": "dottor",
        "dott.ssa": "dottoressa", "dr.": "dottor", "prof.": "professor", "prof.ssa": "professoressa",
        "avv.": "avvocato", "ing.": "ingegner", "ecc.": "eccetera", "p.es.": "per esempio", "ad es.": "ad esempio",
        "es.": "esempio", "c.a.": "circa", "a.C.": "avanti cristo", "d.C.": "dopo cristo", "tel.": "telefono",
        "v.le": "viale", "p.zza": "piazza", "c.so": "corso", "pag.": "pagina", "pagg.": "pagine", "cfr.": "confronta",
        "n.": "numero", "nr.": "numero", "n°": "numero", "jr.": "junior", "ltd.": "limited",
    },
    before_figures={
        "p.": "pagina", "art.": "articolo", "cap.": "capitolo", "vol.": "volume", "fig.": "figura", "nº": "numero",
    },
    ordinal_signs={r"º|(?<=\b\d)°(?=\s[^\W\d_])": "", "ª": "f"},
    elisions=((r"\buna (?=or[ae]\b)", "un'"),),
    counted_genders=(
        (r"problema|programa|sistema|tema|pianeta|clima", "m"),
        (r"alla|dalla|nella|sulla|della|contro|come|quando|dopo|verso|sono|prima", ""),
        (r"\w{3,}a", "f"),
        (r"\w{4,}[oe]", "m"),
    ),
    endings={
        "m": (("^uno$", "un"),),
        "f": (("^uno$", "una"),),
        "ordinal f": (("o$", "a"),),
    },
)  # fmt: skip
