"""Chinese, as in the mainland."""

from services.tts.engines.xtts.reading.words.language import Words, money, units

WORDS = Words(
    decimal_mark=".",
    blank_groups=False,
    joins=True,
    plural="none",
    point="点",
    minus="负",
    plus="加",
    equals="等于",
    times="乘",
    times_more="倍",
    to="到",
    ratio="比",
    over="{1}分之{0}",
    fractions=("二分之一", "三分之一", "三分之二", "四分之一", "四分之三"),
    half_more="又二分之一",
    dot="点",
    slash="斜杠",
    dash="横杠",
    underscore="下划线",
    at="艾特",
    number="第",
    hash="话题",
    version="版本",
    signs={"&": "和", "§": "第", "±": "正负", "≈": "约等于", "÷": "除以", "°": "度"},
    per="每",
    percent="百分之",
    percent_format="{percent}{number}",
    months=("一月", "二月", "三月", "四月", "五月", "六月", "七月", "八月", "九月", "十月", "十一月", "十二月"),
    date="{year}年{month}{day}日",
    date_order="ymd",
    clock="{hour}点{minute}分",
    full_hour="{hour}点",
    zero_minute="零",
    years=(("", "年", "year", ""),),
    money=money("欧元, 美元, 英镑, 元, 韩元, 卢比, 兹罗提, 克朗, 福林, 里拉, 卢布, 雷亚尔, 法郎"),
    scales={"万": "万", "亿": "亿", "百万": "百万", "千万": "千万"},
    units=units(
        "千 厘 毫 兆 吉 太",
        "m 米, g 克, l 升, s 秒, B 字节, Hz 赫兹, W 瓦, Wh 瓦时, V 伏, cal 卡, km 公里, kg 公斤, t 吨, h 小时, "
        "min 分钟, "
        "°C 摄氏度, ℃ 摄氏度, °F 华氏度, ° 度, m² 平方米, km² 平方公里, m³ 立方米, km/h 公里每小时, m/s 米每秒",
    ),
)
