"""German."""

from services.tts.engines.xtts.reading.words.language import Words, money, units

WORDS = Words(
    point="komma",
    minus="minus",
    plus="plus",
    equals="gleich",
    times="mal",
    times_more="mal",
    to="bis",
    ratio="zu",
    over="{} durch {}",
    fractions=("ein halb", "ein drittel", "zwei drittel", "ein viertel", "drei viertel"),
    half_more="einhalb",
    dot="punkt",
    slash="schrägstrich",
    dash="bindestrich",
    underscore="unterstrich",
    at="ät",
    number="nummer",
    hash="hashtag",
    version="version",
    signs={
        "&": "und", "§": "paragraf", "§§": "paragrafen", "±": "plus minus", "≈": "ungefähr", "÷": "geteilt durch",
        "°": "grad",
    },
    per="pro",
    percent="prozent",
    months=(
        *("januar", "februar", "märz", "april", "mai", "juni"),
        *("juli", "august", "september", "oktober", "november", "dezember"),
    ),
    day="er",
    clock="{hour} uhr {minute}",
    full_hour="{hour} uhr",
    clock_word="Uhr",
    money=money(
        "euro/cent, dollar/cent, pfund/pence, yen, won, rupie|rupien, zloty/groschen, f:krone|kronen, forint, lira, "
        "rubel, real, franken/rappen"
    ),
    money_says_cents=False,
    scales={
        "Mio.": "f:million|millionen", "Mio": "f:million|millionen", "Millionen": "f:million|millionen",
        "Mrd.": "f:milliarde|milliarden", "Mrd": "f:milliarde|milliarden", "Milliarden": "f:milliarde|milliarden",
        "Tsd.": "tausend", "T": "tausend",
    },
    units=units(
        "kilo zenti milli mega giga tera",
        "m meter, g gramm, l liter, s f:sekunde|sekunden, B byte, Hz hertz, W watt, Wh f:wattstunde|wattstunden, "
        "V volt, cal kalorie|kalorien, t f:tonne|tonnen, h f:stunde|stunden, min f:minute|minuten, "
        "Std. f:stunde|stunden, Min. f:minute|minuten, Sek. f:sekunde|sekunden, °C grad celsius, °F grad fahrenheit, "
        "° grad, m² quadratmeter, km² quadratkilometer, m³ kubikmeter, qm quadratmeter, km/h kilometer pro stunde, "
        "m/s meter pro sekunde, Mbit/s megabit pro sekunde, dB dezibel, ha hektar, PS p s"
    ),
    abbreviations={
        "z.B.": "zum beispiel", "z.b.": "zum beispiel", "d.h.": "das heißt", "u.a.": "unter anderem",
        "u.Ä.": "und ähnliches", "o.Ä.": "oder ähnliches", "i.d.R.": "in der regel", "z.T.": "zum teil",
        "s.o.": "siehe oben", "s.u.": "siehe unten", "v.a.": "vor allem", "v.Chr.": "vor christus",
        "n.Chr.": "nach christus", "usw.": "und so weiter", "bzw.": "beziehungsweise", "ca.": "circa",
        "etc.": "et cetera", "evtl.": "eventuell", "ggf.": "gegebenenfalls", "inkl.": "inklusive", "exkl.": "exklusive",
        "min.": "minimal", "vgl.": "vergleiche", "bspw.": "beispielsweise", "sog.": "sogenannt", "mind.": "mindestens",
        "zzgl.": "zuzüglich", "abzgl.": "abzüglich", "geb.": "geboren", "gest.": "gestorben", "bzgl.": "bezüglich",
        "u.U.": "unter umständen", "m.E.": "meines erachtens", "z.Z.": "zurzeit", "Dr.": "doktor", "Prof.": "professor",
        "Hr.": "herr", "Hrn.": "herrn", "Fr.": "frau", "Frl.": "fräulein", "Dipl.-Ing.": "diplomingenieur",
        "St.": "sankt", "Str.": "straße", "str.": "straße", "Tel.": "telefon", "Nr.": "nummer", "Nrn.": "nummern",
        "Abb.": "abbildung", "Abs.": "absatz", "Aufl.": "auflage", "Jh.": "jahrhundert", "jr.": "junior",
        "Hbf.": "hauptbahnhof",
    },
    before_figures={"S.": "seite", "Art.": "artikel", "Kap.": "kapitel", "Bd.": "band", "No.": "nummer"},
    word_ends={"str.": "straße"},
    ordinal_signs={"te|ste": "", "ter|ster": "er", "ten|sten": "en"},
    dot_ordinal=True,
    bare_day_and_month=True,
    ordinal_articles={
        "am|im|zum|vom|beim|dem|den|des|zur|ab|bis|seit|vor|nach|jeden|jedem|unserem|unseren|meinem|meinen": "en",
        "(?:in|an|auf|mit|bei|nach|seit|zu|aus|von|vor|unter) der": "en", "der|das|die|diese|dieses|jede": "",
        "ein|kein|mein|sein|ihr|unser|jeder|dieser": "er",
    },
    counted_genders=((r"[A-ZÄÖÜ]\w*(?:ung|heit|keit|schaft|ion|tät|e)", "f"), (r"[A-ZÄÖÜ]\w+", "m")),
    glue="[a-zäöüß]{2,}",
    joint="-",
    endings={
        "m": (("(^|hundert)eins$", r"\1ein"),),
        "n": (("(^|hundert)eins$", r"\1ein"),),
        "f": (("^eins$", "eine"),),
        "er": (("e$", "er"),),
        "en": (("e$", "en"),),
    },
)  # fmt: skip
