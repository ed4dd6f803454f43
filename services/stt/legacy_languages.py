"""The languages that the older stack's recognisers knew, by the codes and names that its clients send."""

from __future__ import annotations

# Whisper large-v3's, with the names that it takes as well as the codes.
_WHISPER = (
    "en english/zh chinese/de german/es spanish/ru russian/ko korean/fr french/ja japanese/pt portuguese/"
    "tr turkish/pl polish/ca catalan/nl dutch/ar arabic/sv swedish/it italian/id indonesian/hi hindi/fi finnish/"
    "vi vietnamese/he hebrew/uk ukrainian/el greek/ms malay/cs czech/ro romanian/da danish/hu hungarian/ta tamil/"
    "no norwegian/th thai/ur urdu/hr croatian/bg bulgarian/lt lithuanian/la latin/mi maori/ml malayalam/cy welsh/"
    "sk slovak/te telugu/fa persian/lv latvian/bn bengali/sr serbian/az azerbaijani/sl slovenian/kn kannada/"
    "et estonian/mk macedonian/br breton/eu basque/is icelandic/hy armenian/ne nepali/mn mongolian/bs bosnian/"
    "kk kazakh/sq albanian/sw swahili/gl galician/mr marathi/pa punjabi/si sinhala/km khmer/sn shona/yo yoruba/"
    "so somali/af afrikaans/oc occitan/ka georgian/be belarusian/tg tajik/sd sindhi/gu gujarati/am amharic/"
    "yi yiddish/lo lao/uz uzbek/fo faroese/ht haitian creole/ps pashto/tk turkmen/nn nynorsk/mt maltese/"
    "sa sanskrit/lb luxembourgish/my myanmar/bo tibetan/tl tagalog/mg malagasy/as assamese/tt tatar/haw hawaiian/"
    "ln lingala/ha hausa/ba bashkir/jw javanese/su sundanese/yue cantonese"
)
WHISPER = dict(language.split(" ", 1) for language in _WHISPER.split("/"))
WHISPER_COMMON = ("de", "en", "fr", "es", "it", "pt", "pl", "nl", "ru", "zh", "ja", "ko")
_CANARY = "de bg hr cs da nl en et fi fr el hu it lv lt mt pl pt ro sk sl es sv ru uk"
CANARY = tuple(_CANARY.split())
