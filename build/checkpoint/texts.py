"""Texts on which tokenizers are compared: real reviews, and what breaks tokenizers."""

from collections.abc import Iterable
from itertools import islice

from build.data import reviews

_REVIEWS = 400

HOSTILE = (
    "Crème brûlée, café, naïve, Ångström, ÅNGSTRÖM, El Niño",
    "creme\u0300 bru\u0302le\u0301e cafe\u0301 A\u030angstrom \u0301first",  # decomposed (NFD)
    "\u1e69 s\u0323\u0307 s\u0307\u0323 \u212b \ufb01lm",  # compositions with several forms
    "MiXeD CaSe, SHOUTING, iPhone, McDonald's, ÉCOLE, ẞ ß İ ı Ǆ",
    "他说这部电影很好看。我不喜欢它！",
    "これは映画です。カタカナ ｶﾀｶﾅ 豈 㐀 \U00020000",
    "한국어 영화, 좋아요",
    "مرحبا بالعالم، שלום עולם, नमस्ते दुनिया, สวัสดี",
    "Фильм мне понравился, Ёлка и йод. καλημέρα κόσμε",
    "🎬👍🏽 👨\u200d👩\u200d👧 ❤\ufe0f 🇩🇪 great🎉film",
    "zero\u200bwidth\u200cand\u200djoined \ufeffmark so\u00adft \u2060word",
    "\u202eright to left\u202c \u2066isolated\u2069",
    "nul\x00bell\x07escape\x1bdelete\x7fnext\x85line",
    "tab\tnew\nline\r\nfeed\x0cvertical\x0b end\u2028 of\u2029 line",
    "no\u00a0break ideographic\u3000space narrow\u202fthin\u2009hair\u200a.",
    "replacement \ufffd, fullwidth Ｆｕｌｌ, ① ½ ² ™, 𝒜𝓁𝓅𝒽𝒶",
    "don't can't—dash… “quotes” ‘single’ $5.99 50% a_b c-d e/f @x #y ^ ` ~ + = < > | \\ {}",
    "!?!?!?... ---- ____ ''' ``` ((([[[",
    "##pieces ## ##s ###",
    "  spaces   around  and    between  ",
    "",
    " \t\n",
    "[SEP] in [CLS] the [MASK] text [PAD] of [UNK]",
    "[SEP][SEP]and[CLS]joined[sep] [Sep] [ SEP ] <s> </s> <pad> [unused1]",
    *("x" * length for length in (99, 100, 101, 200, 201, 5000)),
    "film " * 3000,
    "a long, long film. " * 1500 + "the very end",
    "é" * 600,
    "电影" * 1000,
)

SINCE_UNICODE_14 = (
    "ΤΟΥ ΣΙΣΥΦΟΥ: ΣΊΣΥΦΟΣ",  # a final sigma is another letter in Python's lower case
    "private \ue000 and unassigned \U0003ffff characters",
    "🫠 🫨",
)
"""Where the tokenizers in Python and in Rust know different versions of Unicode."""


def ordinary() -> list[str]:
    """Real reviews, of which some were held out, and the longest of all."""
    texts = [review.text for review in reviews.load_test()]
    return [*islice(texts, _REVIEWS), *sorted(texts, key=len)[-10:], " ".join(texts[:200])]


def around(tokens: Iterable[str]) -> list[str]:
    """Texts with tokens that stand for themselves wherever they are found."""
    frames = ("the {} film", "the{}film", "{}{}", " {} .")
    forms = [form for token in tokens for form in dict.fromkeys((token, token.lower()))]
    return [frame.replace("{}", form) for form in forms for frame in frames]
