"""Spanish."""

from services.tts.engines.xtts.reading.words.language import Words, money, units

WORDS = Words(
    point="coma",
    decimals_as_number=True,
    minus="menos",
    plus="más",
    equals="igual a",
    times="por",
    times_more="f:vez|veces",
    to="a",
    ratio="a",
    over="{} partido por {}",
    fractions=("un medio", "un tercio", "dos tercios", "un cuarto", "tres cuartos"),
    half_more="y medio",
    dot="punto",
    slash="barra",
    dash="guion",
    underscore="guion bajo",
    at="arroba",
    number="número",
    hash="almohadilla",
    version="versión",
    signs={"&": "y", "§": "sección", "±": "más menos", "≈": "aproximadamente", "÷": "dividido por", "°": "grados"},
    per="por",
    percent="por ciento",
    months=(
        *("enero", "febrero", "marzo", "abril", "mayo", "junio"),
        *("julio", "agosto", "septiembre", "octubre", "noviembre", "diciembre"),
    ),
    date="{day} de {month} de {year}",
    first_day="primero",
    full_hour="{hours}",
    zero_minute="cero",
    hour="f:hora|horas",
    clock_word="horas|hrs?\\.?|h",
    money=money(
        "euro|euros/céntimo|céntimos, dólar|dólares/centavo|centavos, f:libra|libras/penique|peniques, yen|yenes, "
        "won|wones, f:rupia|rupias, esloti|eslotis, f:corona|coronas, florín|florines, f:lira|liras, rublo|rublos, "
        "real|reales, franco|francos"
    ),
    money_format="{whole} con {cents}",
    money_says_cents=False,
    scales={
        "M": "millón de|millones de", "mill.": "millón de|millones de", "millones": "millón de|millones de", "k": "mil",
    },
    units=units(
        "kilo centi mili mega giga tera",
        "m metro|metros, g gramo|gramos, l litro|litros, s segundo|segundos, B byte|bytes, Hz hercio|hercios, "
        "W vatio|vatios, Wh vatio hora|vatios hora, V voltio|voltios, cal caloría|calorías, km kilómetro|kilómetros, "
        "cm centímetro|centímetros, mm milímetro|milímetros, cl centilitro|centilitros, t f:tonelada|toneladas, "
        "h f:hora|horas, min minuto|minutos, °C grado celsius|grados celsius, °F grado fahrenheit|grados fahrenheit, "
        "° grado|grados, m² metro cuadrado|metros cuadrados, km² kilómetro cuadrado|kilómetros cuadrados, "
        "m³ metro cúbico|metros cúbicos, km/h kilómetro por hora|kilómetros por hora, "
        "m/s metro por segundo|metros por segundo, dB decibelio|decibelios, ha f:hectárea|hectáreas"
    ),
    abbreviations={
        "Sr.": "señor", "Sra.": "señora", "Srta.": "señorita", "Sres.": "señores", "Dr.": "doctor", "Dra.": "doctora",
        "D.ª": "doña", "Dña.": "doña", "prof.": "profesor", "Ud.": "usted", "Uds.": "ustedes", "Vd.": "usted",
        "Vds.": "ustedes", "etc.": "etcétera", "p.ej.": "por ejemplo", "p. ej.": "por ejemplo",
        "aprox.": "aproximadamente", "Avda.": "avenida", "Av.": "avenida", "EE.UU.": "estados unidos",
        "EE. UU.": "estados unidos", "tel.": "teléfono", "a.C.": "antes de cristo", "d.C.": "después de cristo",
        "Sto.": "santo", "Sta.": "santa", "Ltd.": "limitada", "a.m.": "a eme", "p.m.": "pe eme", "pág.": "página",
        "núm.": "número", "dpto.": "departamento", "Jr.": "júnior", "n.º": "número", "nº": "número", "n°": "número",
    },
    before_figures={
        "p.": "página", "pp.": "páginas", "art.": "artículo", "cap.": "capítulo", "No.": "número", "c/": "calle",
        "vol.": "volumen",
    },
    ordinal_signs={r"\.?º|(?<=\b\d)°(?=\s[^\W\d_])|o": "", r"\.?ª|a": "f", r"\.?er": "er"},
    counted_genders=(
        (r"(?:día|problema|tema|mapa|programa|sistema|planeta|idioma)s?", "m"),
        (r"sobre|para|entre|desde|hasta|como|pero|cuando", ""),
        (r"\w{2,}as?", "f"),
        (r"\w{4,}", "m"),
    ),
    endings={
        "m": (("veintiuno$", "veintiún"), (r"\buno$", "un")),
        "f": (("uno$", "una"), (r"cientos\b", "cientas"), (r"quinientos\b", "quinientas")),
        "ordinal f": (("o$", "a"),),
        "er": (("(primer|tercer)o$", r"\1"),),
    },
)  # fmt: skip
