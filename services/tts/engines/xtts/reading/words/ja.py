"""Japanese."""

from services.tts.engines.xtts.reading.words.language import Words, money, units

WORDS = Words(
    decimal_mark=".",
    blank_groups=False,
    joins=True,
    plural="none",
    point="点",
    minus="マイナス",
    plus="プラス",
    equals="イコール",
    times="かける",
    times_more="倍",
    to="から",
    ratio="対",
    over="{1}分の{0}",
    fractions=("二分の一", "三分の一", "三分の二", "四分の一", "四分の三"),
    half_more="と二分の一",
    dot="ドット",
    slash="スラッシュ",
    dash="ハイフン",
    underscore="アンダーバー",
    at="アットマーク",
    number="ナンバー",
    hash="ハッシュタグ",
    version="バージョン",
    signs={"&": "アンド", "§": "セクション", "±": "プラスマイナス", "≈": "約", "÷": "割る", "°": "度"},
    per="毎",
    percent="パーセント",
    percent_format="{number}{percent}",
    months=("一月", "二月", "三月", "四月", "五月", "六月", "七月", "八月", "九月", "十月", "十一月", "十二月"),
    date="{year}年{month}{day}日",
    date_order="ymd",
    clock="{hour}時{minute}分",
    full_hour="{hour}時",
    money=money(
        "ユーロ, ドル, ポンド, 円, ウォン, ルピー, ズウォティ, コルナ, フォリント, リラ, ルーブル, レアル, フラン"
    ),
    scales={"万": "万", "億": "億"},
    units=units(
        "キロ センチ ミリ メガ ギガ テラ",
        "m メートル, g グラム, l リットル, s 秒, B バイト, Hz ヘルツ, W ワット, Wh ワット時, V ボルト, cal カロリー, "
        "t トン, h 時間, min 分, °C 度, ℃ 度, °F 華氏度, ° 度, m² 平方メートル, km² 平方キロメートル, "
        "m³ 立方メートル, "
        "km/h キロメートル毎時, m/s メートル毎秒",
    ),
)
