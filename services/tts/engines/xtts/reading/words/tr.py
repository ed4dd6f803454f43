"""Turkish."""

# ruff: noqa: RUF001 - the dotless i.

from services.tts.engines.xtts.reading.words.language import Words, money, units

WORDS = Words(
    plural="none",
    point="virgül",
    decimals_as_number=True,
    minus="eksi",
    plus="artı",
    equals="eşittir",
    times="çarpı",
    times_more="kat",
    to="ila",
    ratio="",
    over="{} bölü {}",
    fractions=("bir bölü iki", "üçte bir", "üçte iki", "dörtte bir", "dörtte üç"),
    half_more="buçuk",
    dot="nokta",
    slash="bölü",
    dash="tire",
    underscore="alt tire",
    at="et",
    number="numara",
    hash="diyez",
    version="sürüm",
    signs={"&": "ve", "§": "paragraf", "±": "artı eksi", "≈": "yaklaşık", "÷": "bölü", "°": "derece"},
    per="bölü",
    percent="yüzde",
    percent_format="{percent} {number}",
    months=(
        *("ocak", "şubat", "mart", "nisan", "mayıs", "haziran"),
        *("temmuz", "ağustos", "eylül", "ekim", "kasım", "aralık"),
    ),
    zero_minute="sıfır",
    dotted_time="[Ss]aat",
    money=money(
        "avro/sent, dolar/sent, sterlin/peni, yen, won, rupi, zloti, koron, forint, lira/kuruş, ruble, real, frank"
    ),
    scales={"bin": "bin", "milyon": "milyon", "milyar": "milyar", "mn": "milyon", "mr": "milyar"},
    units=units(
        "kilo santi mili mega giga tera",
        "m metre, g gram, l litre, s saniye, B bayt, Hz hertz, W vat, Wh vat saat, V volt, cal kalori, gr gram, "
        "lt litre, t ton, h saat, sa saat, dk dakika, dk. dakika, sn saniye, min dakika, °C santigrat derece, "
        "°F fahrenhayt derece, ° derece, m² metrekare, km² kilometrekare, m³ metreküp, km/h kilometre bölü saat, "
        "km/sa kilometre bölü saat, m/s metre bölü saniye, dB desibel"
    ),
    abbreviations={
        "vb.": "ve benzeri", "vs.": "vesaire", "örn.": "örneğin", "dr.": "doktor", "prof.": "profesör",
        "doç.": "doçent", "müh.": "mühendis", "sn.": "sayın", "bkz.": "bakınız", "yy.": "yüzyıl", "mah.": "mahallesi",
        "cad.": "caddesi", "sok.": "sokak", "apt.": "apartmanı", "tel.": "telefon", "m.ö.": "milattan önce",
        "m.s.": "milattan sonra", "yakl.": "yaklaşık", "hz.": "hazreti", "no.": "numara", "t.c.": "türkiye cumhuriyeti",
        "byk.": "büyük", "ör.": "örnek", "öğr.": "öğretmen", "çev.": "çeviren", "blv.": "bulvarı",
    },
    before_figures={"no:": "numara", "s.": "sayfa", "sf.": "sayfa", "no": "numara"},
    ordinal_signs={"['’]?[ıiuü]?nc[ıiuü]": ""},
    dot_ordinal=True,
    glue="[a-zçğıöşü]+",
    joint="'’",
)  # fmt: skip
