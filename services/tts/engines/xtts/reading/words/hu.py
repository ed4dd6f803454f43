"""Hungarian."""

from services.tts.engines.xtts.reading.words.language import Words, money, units

WORDS = Words(
    plural="none",
    point="egész",
    decimals_as_number=True,
    minus="mínusz",
    plus="plusz",
    equals="egyenlő",
    times="szorozva",
    times_more="alkalommal",
    to="-",
    ratio="",
    over="{} per {}",
    fractions=("fél", "egyharmad", "kétharmad", "egynegyed", "háromnegyed"),
    half_more="és fél",
    dot="pont",
    slash="per",
    dash="kötőjel",
    underscore="alulvonás",
    at="kukac",
    number="szám",
    hash="hashtag",
    version="verzió",
    signs={"&": "és", "§": "paragrafus", "±": "plusz-mínusz", "≈": "körülbelül", "÷": "osztva", "°": "fok"},
    per="per",
    percent="százalék",
    months=(
        *("január", "február", "március", "április", "május", "június"),
        *("július", "augusztus", "szeptember", "október", "november", "december"),
    ),
    date="{year} {month} {day}",
    date_order="ymd",
    day="day",
    first_day="elseje",
    month_first=True,
    clock="{hour} óra {minute} perc",
    full_hour="{hour} óra",
    clock_word="óra",
    money=money(
        "euró/cent, dollár/cent, font/penny, jen, von, rúpia, zloty, korona, forint, líra, rubel, real, frank"
    ),
    scales={"ezer": "ezer", "millió": "millió", "milliárd": "milliárd", "M": "millió", "Mrd": "milliárd"},
    units=units(
        "kilo centi milli mega giga tera",
        "m méter, g gramm, l liter, s másodperc, B bájt, Hz hertz, W watt, Wh wattóra, V volt, cal kalória, "
        "dl deciliter, dkg dekagramm, db darab, t tonna, h óra, min perc, mp másodperc, p perc, °C celsius-fok, "
        "°F fahrenheit-fok, ° fok, m² négyzetméter, km² négyzetkilométer, m³ köbméter, km/h kilométer per óra, "
        "m/s méter per szekundum, dB decibel, ha hektár"
    ),
    abbreviations={
        "pl.": "például", "stb.": "és a többi", "kb.": "körülbelül", "ill.": "illetve", "dr.": "doktor",
        "prof.": "professzor", "ún.": "úgynevezett", "ui.": "ugyanis", "vö.": "vesd össze", "u.": "utca",
        "krt.": "körút", "ált.": "általában", "id.": "idősebb", "ifj.": "ifjabb", "özv.": "özvegy",
        "i.e.": "időszámításunk előtt", "i.sz.": "időszámításunk szerint", "kr.e.": "krisztus előtt",
        "kr.u.": "krisztus után", "tel.": "telefon", "ld.": "lásd", "bp.": "budapest", "nőv.": "nővér",
        "stb": "és a többi",
    },
    before_figures={"o.": "oldal"},
    ordinal_signs={"-?(?:adik|edik|odik|ödik)": ""},
    dot_ordinal=True,
    glue="(?:kor|b[ae]n|t[óő]l|ig|r[ae]|[eoöaá]?s|[eo]n|sz[oeö]r|b[óő]l|n[áé]l|v[ae]l|h[oeö]z)[a-záéíóöőúüű]*",
    joint="-",
    elisions=((r"kettőes\b", "kettes"), (r"háromas\b", "hármas"), (r"hétes\b", "hetes"), (r"ezeres\b", "ezres")),
    counted_genders=((r"vagy|pedig|után|előtt|között", ""), (r"\w{3,}", "m")),
    endings={
        "m": (("kettő$", "két"),),
        "day": (
            ("első$", "elseje"),
            ("(nyolcad|harmad|hatod|huszad|második|másod|harmincad)ik$", r"\1ika"),
            ("ik$", "ike"),
        ),
    },
)  # fmt: skip
