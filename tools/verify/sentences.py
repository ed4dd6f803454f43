"""One sentence in each language of the older stack's voice, to be spoken and read back: everyday words, no numbers."""

# ruff: noqa: RUF001 - letters and punctuation of many scripts.

from __future__ import annotations

SENTENCES = {
    "en": "The train to the city leaves in the morning, and my sister is waiting at the station.",
    "de": "Der Zug in die Stadt fährt am Morgen ab, und meine Schwester wartet am Bahnhof.",
    "fr": "Le train pour la ville part le matin, et ma sœur attend à la gare.",
    "es": "El tren a la ciudad sale por la mañana, y mi hermana espera en la estación.",
    "it": "Il treno per la città parte la mattina, e mia sorella aspetta alla stazione.",
    "pt": "O trem para a cidade sai de manhã, e minha irmã espera na estação.",
    "pl": "Pociąg do miasta odjeżdża rano, a moja siostra czeka na dworcu.",
    "nl": "De trein naar de stad vertrekt in de ochtend, en mijn zus wacht op het station.",
    "cs": "Vlak do města odjíždí ráno a moje sestra čeká na nádraží.",
    "ar": "القطار إلى المدينة يغادر في الصباح وأختي تنتظر في المحطة.",
    "tr": "Şehre giden tren sabah kalkıyor ve kız kardeşim istasyonda bekliyor.",
    "ru": "Поезд в город отправляется утром, и моя сестра ждёт на вокзале.",
    "hu": "A vonat reggel indul a városba, és a nővérem az állomáson vár.",
    "ko": "도시로 가는 기차는 아침에 떠나고 언니는 역에서 기다립니다.",
    "ja": "町へ行く電車は朝に出て、妹は駅で待っています。",
    "zh-cn": "去城里的火车早上出发，我妹妹在车站等着。",
    "hi": "शहर जाने वाली गाड़ी सुबह निकलती है और मेरी बहन स्टेशन पर इंतज़ार कर रही है।",
}
