"""English: of America where it makes a difference, as most of the model's speakers are."""

from services.tts.engines.xtts.reading.words.language import Words, money, units

WORDS = Words(
    decimal_mark=".",
    blank_groups=False,
    point="point",
    minus="minus",
    plus="plus",
    equals="equals",
    times="times",
    times_more="times",
    to="to",
    ratio="to",
    over="{} over {}",
    fractions=("one half", "one third", "two thirds", "one quarter", "three quarters"),
    half_more="and a half",
    dot="dot",
    slash="slash",
    dash="dash",
    underscore="underscore",
    at="at",
    number="number",
    hash="hashtag",
    version="version",
    signs={"&": "and", "§": "section", "±": "plus or minus", "≈": "about", "÷": "divided by", "°": "degrees"},
    per="per",
    percent="percent",
    months=(
        *("january", "february", "march", "april", "may", "june"),
        *("july", "august", "september", "october", "november", "december"),
    ),
    date="{month} {day}, {year}",
    date_order="mdy",
    day="m",
    month_first=True,
    full_hour="{hour} o'clock",
    zero_minute="oh",
    clock_word="o'clock",
    money=money(
        "euro|euros/cent|cents, dollar|dollars/cent|cents, pound|pounds/penny|pence, yen, won, "
        "rupee|rupees/paisa|paise, zloty|zlotys/grosz|groszy, koruna|korunas/haler|halers, forint|forints, "
        "lira|liras/kurus, ruble|rubles/kopek|kopeks, real|reais/centavo|centavos, franc|francs/centime|centimes"
    ),
    money_format="{whole} and {cents}",
    scales={
        "k": "thousand", "K": "thousand", "M": "million", "m": "million", "bn": "billion", "B": "billion",
        "thousand": "thousand", "million": "million", "billion": "billion", "trillion": "trillion",
    },
    units=units(
        "kilo centi milli mega giga tera",
        "m meter|meters, g gram|grams, l liter|liters, s second|seconds, B byte|bytes, Hz hertz, W watt|watts, "
        "Wh watt hour|watt hours, V volt|volts, cal calorie|calories, t ton|tons, h hour|hours, min minute|minutes, "
        "hrs hour|hours, hr hour|hours, sec second|seconds, mins minute|minutes, °C degree celsius|degrees celsius, "
        "°F degree fahrenheit|degrees fahrenheit, ° degree|degrees, m² square meter|square meters, "
        "km² square kilometer|square kilometers, m³ cubic meter|cubic meters, ft² square foot|square feet, "
        "km/h kilometer per hour|kilometers per hour, m/s meter per second|meters per second, "
        "mph mile per hour|miles per hour, ft foot|feet, mi mile|miles, lb pound|pounds, lbs pound|pounds, "
        "oz ounce|ounces, Mbps megabit per second|megabits per second, dB decibel|decibels, px pixel|pixels"
    ),
    abbreviations={
        "mr.": "mister", "mrs.": "missus", "ms.": "miz", "dr.": "doctor", "prof.": "professor", "st.": "saint",
        "jr.": "junior", "sr.": "senior", "gen.": "general", "col.": "colonel", "capt.": "captain", "lt.": "lieutenant",
        "sgt.": "sergeant", "rev.": "reverend", "sen.": "senator", "gov.": "governor", "e.g.": "for example",
        "i.e.": "that is", "etc.": "et cetera", "approx.": "approximately", "vs.": "versus", "dept.": "department",
        "inc.": "incorporated", "ltd.": "limited", "co.": "company", "corp.": "corporation", "a.k.a.": "also known as",
        "w/o": "without", "cf.": "compare", "mt.": "mount", "ft.": "fort", "U.S.": "u s", "U.S.A.": "u s a",
        "U.K.": "u k", "U.N.": "u n", "Ph.D.": "p h d", "jan.": "january", "feb.": "february", "aug.": "august",
        "sept.": "september", "oct.": "october", "nov.": "november", "dec.": "december",
    },
    before_figures={
        "no.": "number", "nos.": "numbers", "p.": "page", "pp.": "pages", "fig.": "figure", "vol.": "volume",
        "ch.": "chapter", "ca.": "about", "c.": "circa", "ext.": "extension", "art.": "article", "sec.": "section",
        "est.": "established",
    },
    after_names={
        "st.": "street", "ave.": "avenue", "rd.": "road", "blvd.": "boulevard", "dr.": "drive", "ln.": "lane",
        "sq.": "square",
    },
    ordinal_signs={"st|nd|rd|th": "m"},
)  # fmt: skip
