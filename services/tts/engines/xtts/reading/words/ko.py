"""Korean."""

from services.tts.engines.xtts.reading.words.language import Words, money, units

WORDS = Words(
    decimal_mark=".",
    blank_groups=False,
    plural="none",
    point="점",
    minus="마이너스",
    plus="플러스",
    equals="는",
    times="곱하기",
    times_more="배",
    to="에서",
    ratio="대",
    over="{1}분의 {0}",
    fractions=("이분의 일", "삼분의 일", "삼분의 이", "사분의 일", "사분의 삼"),
    half_more="과 이분의 일",
    dot="점",
    slash="슬래시",
    dash="대시",
    underscore="언더바",
    at="골뱅이",
    number="번호",
    hash="해시태그",
    version="버전",
    signs={"&": "앤드", "§": "조", "±": "플러스 마이너스", "≈": "약", "÷": "나누기", "°": "도"},
    per="퍼",
    percent="퍼센트",
    months=("일월", "이월", "삼월", "사월", "오월", "유월", "칠월", "팔월", "구월", "시월", "십일월", "십이월"),
    date="{year}년 {month} {day}일",
    date_order="ymd",
    clock="{hour}시 {minute}분",
    full_hour="{hour}시",
    money=money("유로, 달러, 파운드, 엔, 원, 루피, 즈워티, 코루나, 포린트, 리라, 루블, 헤알, 프랑"),
    scales={"만": "만", "억": "억", "천": "천", "백만": "백만"},
    units=units(
        "킬로 센티 밀리 메가 기가 테라",
        "m 미터, g 그램, l 리터, s 초, B 바이트, Hz 헤르츠, W 와트, Wh 와트시, V 볼트, cal 칼로리, t 톤, h 시간, "
        "min 분, °C 도, ℃ 도, °F 화씨 도, ° 도, m² 제곱미터, km² 제곱킬로미터, m³ 세제곱미터, "
        "km/h 킬로미터 퍼 시, m/s 미터 퍼 초",
    ),
    glue="[가-힣]+",
    ordinal_signs={r"\s?번째": ""},
)
