"""Portuguese, of Brazil."""

from services.tts.engines.xtts.reading.words.language import Words, money, units

WORDS = Words(
    plural="french",
    point="vírgula",
    decimals_as_number=True,
    minus="menos",
    plus="mais",
    equals="igual a",
    times="por",
    times_more="f:vez|vezes",
    to="a",
    ratio="a",
    over="{} sobre {}",
    fractions=("meio", "um terço", "dois terços", "um quarto", "três quartos"),
    half_more="e meio",
    dot="ponto",
    slash="barra",
    dash="hífen",
    underscore="sublinhado",
    at="arroba",
    number="número",
    hash="hashtag",
    version="versão",
    signs={"&": "e", "§": "parágrafo", "±": "mais ou menos", "≈": "aproximadamente", "÷": "dividido por", "°": "graus"},
    per="por",
    percent="por cento",
    months=(
        *("janeiro", "fevereiro", "março", "abril", "maio", "junho"),
        *("julho", "agosto", "setembro", "outubro", "novembro", "dezembro"),
    ),
    date="{day} de {month} de {year}",
    first_day="primeiro",
    clock="{hour} e {minute}",
    full_hour="{hours}",
    hour="f:hora|horas",
    clock_word="horas?|hs?",
    money=money(
        "euro|euros/centavo|centavos, dólar|dólares/centavo|centavos, f:libra|libras/pêni|pence, iene|ienes, "
        "won|wons, f:rupia|rupias, zloty|zlotys, f:coroa|coroas, florim|florins, f:lira|liras, rublo|rublos, "
        "real|reais/centavo|centavos, franco|francos/cêntimo|cêntimos"
    ),
    money_format="{whole} e {cents}",
    scales={
        "mi": "milhão de|milhões de", "milhões": "milhão de|milhões de", "bi": "bilhão de|bilhões de",
        "bilhões": "bilhão de|bilhões de", "mil": "mil",
    },
    units=units(
        "quilo centi mili mega giga tera",
        "m metro|metros, g grama|gramas, l litro|litros, s segundo|segundos, B byte|bytes, Hz hertz, W watt|watts, "
        "Wh watt-hora|watts-hora, V volt|volts, cal caloria|calorias, km quilômetro|quilômetros, "
        "cm centímetro|centímetros, mm milímetro|milímetros, kHz quilohertz, t f:tonelada|toneladas, h f:hora|horas, "
        "min minuto|minutos, °C grau celsius|graus celsius, °F grau fahrenheit|graus fahrenheit, ° grau|graus, "
        "m² metro quadrado|metros quadrados, km² quilômetro quadrado|quilômetros quadrados, "
        "m³ metro cúbico|metros cúbicos, km/h quilômetro por hora|quilômetros por hora, "
        "m/s metro por segundo|metros por segundo, dB decibel|decibéis, ha hectare|hectares"
    ),
    abbreviations={
        "Sr.": "senhor", "Sra.": "senhora", "Srta.": "senhorita", "Srs.": "senhores", "Dr.": "doutor",
        "Dra.": "doutora", "prof.": "professor", "profa.": "professora", "Eng.": "engenheiro", "etc.": "et cetera",
        "p.ex.": "por exemplo", "p. ex.": "por exemplo", "aprox.": "aproximadamente", "av.": "avenida", "pça.": "praça",
        "tel.": "telefone", "a.C.": "antes de cristo", "d.C.": "depois de cristo", "Sto.": "santo", "Sta.": "santa",
        "pág.": "página", "págs.": "páginas", "n.º": "número", "nº": "número", "n°": "número",
        "V.Sa.": "vossa senhoria", "Ltda.": "limitada", "Jr.": "júnior", "Cia.": "companhia", "depto.": "departamento",
        "obs.": "observação",
    },
    before_figures={"p.": "página", "art.": "artigo", "cap.": "capítulo", "vol.": "volume", "fig.": "figura"},
    ordinal_signs={r"\.?º|(?<=\b\d)°(?=\s[^\W\d_])|o": "", r"\.?ª|a": "f"},
    counted_genders=(
        (r"(?:dia|problema|tema|mapa|programa|sistema|planeta|idioma)s?", ""),
        (r"para|contra|a|as", ""),
        (r"\w{3,}as?|mulher(?:es)?|vez(?:es)?|\w+(?:ção|ções|dade|dades)", "f"),
    ),
    endings={
        "f": ((r"\bum$", "uma"), (r"\bdois$", "duas"), (r"entos\b", "entas")),
        "ordinal f": ((r"o\b", "a"),),
    },
)  # fmt: skip
