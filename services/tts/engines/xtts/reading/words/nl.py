"""Dutch."""

from services.tts.engines.xtts.reading.words.language import Words, money, units

WORDS = Words(
    point="komma",
    minus="min",
    plus="plus",
    equals="is",
    times="keer",
    times_more="keer",
    to="tot",
    ratio="tegen",
    over="{} gedeeld door {}",
    fractions=("een half", "een derde", "twee derde", "een kwart", "drie kwart"),
    half_more="en een half",
    dot="punt",
    slash="schuine streep",
    dash="streepje",
    underscore="laag streepje",
    at="apenstaartje",
    number="nummer",
    hash="hashtag",
    version="versie",
    signs={"&": "en", "§": "paragraaf", "±": "ongeveer", "≈": "ongeveer", "÷": "gedeeld door", "°": "graden"},
    per="per",
    percent="procent",
    months=(
        *("januari", "februari", "maart", "april", "mei", "juni"),
        *("juli", "augustus", "september", "oktober", "november", "december"),
    ),
    clock="{hour} uur {minute}",
    full_hour="{hour} uur",
    clock_word="uur|u",
    money=money(
        "euro/cent, dollar/cent, pond/pence, yen, won, roepie, zloty, kroon|kronen, forint, lira, roebel, real, "
        "frank/rappen"
    ),
    money_says_cents=False,
    scales={
        "mln": "miljoen", "mld": "miljard", "mln.": "miljoen", "mld.": "miljard", "miljoen": "miljoen",
        "miljard": "miljard", "k": "duizend",
    },
    units=units(
        "kilo centi milli mega giga tera",
        "m meter, g gram, l liter, s seconde|seconden, B byte, Hz hertz, W watt, Wh wattuur, V volt, "
        "cal calorie|calorieën, t ton, h uur, min minuut|minuten, °C graad celsius|graden celsius, "
        "°F graad fahrenheit|graden fahrenheit, ° graad|graden, m² vierkante meter, km² vierkante kilometer, "
        "m³ kubieke meter, km/h kilometer per uur, km/u kilometer per uur, m/s meter per seconde, dB decibel, "
        "ha hectare"
    ),
    abbreviations={
        "dhr.": "de heer", "mevr.": "mevrouw", "mw.": "mevrouw", "dr.": "dokter", "prof.": "professor",
        "ir.": "ingenieur", "ing.": "ingenieur", "mr.": "meester", "drs.": "doctorandus", "jhr.": "jonkheer",
        "bijv.": "bijvoorbeeld", "bv.": "bijvoorbeeld", "d.w.z.": "dat wil zeggen", "enz.": "enzovoort",
        "etc.": "et cetera", "o.a.": "onder andere", "m.a.w.": "met andere woorden", "i.p.v.": "in plaats van",
        "a.u.b.": "alstublieft", "z.o.z.": "zie ommezijde", "ca.": "circa", "evt.": "eventueel", "incl.": "inclusief",
        "excl.": "exclusief", "nr.": "nummer", "nrs.": "nummers", "blz.": "bladzijde", "tel.": "telefoon",
        "t.a.v.": "ter attentie van", "t/m": "tot en met", "m.b.t.": "met betrekking tot",
        "n.a.v.": "naar aanleiding van", "vgl.": "vergelijk", "v.Chr.": "voor christus", "n.Chr.": "na christus",
        "str.": "straat", "St.": "sint", "jl.": "jongstleden",
    },
    before_figures={"p.": "pagina", "art.": "artikel", "hfst.": "hoofdstuk", "no.": "nummer"},
    word_ends={"str.": "straat"},
    ordinal_signs={"e|de|ste": ""},
    glue="(?:jarig|voudig|maal|delig|daags)[a-z]*",
    joint="-",
    dotted_time="[Oo]m",
)  # fmt: skip
