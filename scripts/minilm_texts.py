"""The texts of `tests/data/minilm_digests.json`: WordNet's glosses, and strings that have broken tokenizers before."""

# ruff: noqa: E501, RUF001 - a string stays whole, and looks as it looks

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

GLOSSES = Path(__file__).parents[1] / "tests" / "data" / "glosses.jsonl"


def texts() -> list[tuple[str, str]]:
    """Give every text with its kind, each text once, in the file's order."""
    glosses = [json.loads(line)["text"] for line in GLOSSES.read_text("utf-8").splitlines()]
    pairs = [("gloss", gloss) for gloss in glosses[::3] + glosses[1::3]]
    pairs += [("joined glosses", "; ".join(glosses[2 + 21 * i : 2 + 21 * i + 3 * (i + 2) : 3])) for i in range(8)]
    pairs += [(f"form {form}", unicodedata.normalize(form, text)) for text in ACCENTED for form in ("NFC", "NFD")]
    pairs += [(kind, text) for kind, some in GOLDEN.items() for text in some]
    return list({text: (kind, text) for kind, text in reversed(pairs)}.values())[::-1]


ACCENTED = [
    "Où est la bibliothèque? Près de l'hôtel, à côté du café.",
    "Zażółć gęślą jaźń; příliš žluťoučký kůň úpěl ďábelské ódy",
    "Tiếng Việt có sáu thanh điệu: ngang, huyền, sắc, hỏi, ngã, nặng",
    "İstanbul, Işık, DİYARBAKIR, ılık: dotted İ i and dotless I ı",
    "Ångström Å Å and Ω Ω are each two code points",
    "각하, 한국어, 값",
    "ऋषियों को सताने वाले",
    "שָׁלוֹם עֲלֵיכֶם",
    "がぎぐげご パピプペポ",
]
"""Written in both normal forms, which are different texts with, mostly, the same tokens."""

GOLDEN: dict[str, list[str]] = {
    "empty": ["", " ", "\n", "\t \r\n", "\x00", "\u200b", "\u0301", "\ufeff"],
    "one character": ["a", "Z", "7", "?", "é", "я", "中", "あ", "한", "א", "ع", "😀", "\u0345", "½", "ß", "\u1e9e"],
    "punctuation": [
        "?!... -- (--) [] {} <> @#$%^&*",
        "``quoted'' and \u201cquoted\u201d, \u2018single\u2019 \u00abangular\u00bb \u2039x\u203a \u201elow\u201f",
        "a\u2014b \u2013 c \u2012 d \u2015 e \u2026 \u2030 \u2020\u2021 \u203d \u2042",
        "$ + < = > ^ ` | ~ are ASCII punctuation; \u00a2 \u20ac \u00a9 \u00b0 \u00b1 \u00d7 \u2192 are none",
        "don't can't o'clock rock'n'roll it\u2019s",
        "e.g. i.e. a.k.a. U.S.A. Ph.D. 3.14.",
        "\u3001\u3002\u300c\u300d\u3010\u3011\uff01\uff1f\uff08\uff09\u30fb",
        "\u061f \u060c \u061b \u0964 \u0965 \u037e \u0387 \u00bf \u00a1 \u1362",
        "a\u2e50b a\u2e3fb a\u10af6b a\u166db \U000111c9x x\U000111c9",
    ],
    "digits": [
        "3.14159 * 2 = 6.28318; 10^-9 is tiny, 1,000,000 is not.",
        "0123456789" * 9,
        "\u0660\u0661\u0662 \u0967\u0968\u0969 \u0e51\u0e52\u0e53 \uff11\uff12\uff13 \U0001d7d8\U0001d7d9 \u2160\u2161\u2162 \u2460\u00bd\u00b2",
        "2024-02-29T23:59:60.123456Z",
        "+1 (555) 010-9999 #42 \u2116 7",
    ],
    "code": [
        "def f(x: int) -> dict[str, int]: return {'x': x ** 2}  # __init__.py",
        "for (int i = 0; i < n; ++i) { a[i] |= 0xFFu << 3; }",
        "SELECT * FROM memories WHERE cid = 'v1::ab' -- DROP TABLE;",
        '{"key": [1, 2.5e-3, null, true], "\\u0041": "\\n"}',
        "git rebase -i HEAD~3 && make -j2 | tee build.log 2>&1",
        "snake_case camelCase PascalCase kebab-case SCREAMING_SNAKE",
        "\\frac{1}{\\sqrt{2\\pi}} e^{-x^2/2}",
    ],
    "address": [
        "https://www.example.org/a/b.html?q=memory&lang=en#top",
        "someone+tag@example.org",
        "http://[2001:db8::1]:8080/%E4%B8%AD",
        "/usr/share/wordnet/data.noun C:\\Windows\\System32",
        "5f4dcc3b5aa765d61d8327deb882cf99 f47ac10b-58cc-4372-a567-0e02b2c3d479",
    ],
    "emoji": [
        "Deploy went fine \U0001f680\U0001f389 but the tests are \U0001f534\U0001f62d",
        "\U0001f469\u200d\U0001f4bb \U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 \U0001f3f3\ufe0f\u200d\U0001f308",
        "\U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7 flags, half a flag \U0001f1e9, \U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
        "\U0001f44d\U0001f3fd \u270c\U0001f3ff 1\ufe0f\u20e3 \u2764\ufe0f \u2764\ufe0e",
        "a\U0001f600b",
    ],
    "Chinese": [
        "天地玄黃,宇宙洪荒。日月盈昃,辰宿列張。",
        "我喜欢memory和记忆2号",
        "\u9fff\u3400\u4dbf\uf900\U0002a6df\U0002f800 \U0002b81f\U0002b820\U0002b91f\U0002b920\U0002ceaf\U0002ceb0\U00030000",
    ],
    "Japanese": [
        "色は匂へど散りぬるを我が世誰ぞ常ならむ",
        "データベースにメモリーを保存する",
        "ﾊﾝｶｸ ｶﾞｷﾞ ﾊﾟ",
        "\u3005\u3006\u3007\u30fc\u309d\u30fd",
    ],
    "Korean": [
        "키스의 고유조건은 입술끼리 만나야 하고 특별한 기술은 필요치 않다.",
        "\u1112\u1161\u11ab\u1100\u1173\u11af",
        "\u3131\u314f\u3134 \uffa1\uffc2",
    ],
    "right to left": [
        "نص حكيم له سر قاطع وذو شأن عظيم مكتوب على ثوب أخضر",
        "السَّلَامُ عَلَيْكُمْ",
        "\ufefb \ufdfa \ufe8d\ufe8e \u0640\u0640",
        "דג סקרן שט בים מאוכזב ולפתע מצא חברה",
        "\u202eabc\u202c \u2066x\u2069 \u200eleft\u200f right",
        "پیش‌تر می‌خواهم",
        "ܫܠܡܐ ޙައި ߒߞߏ",
    ],
    "Indic and Thai": [
        "ऋषियों को सताने वाले दुष्ट राक्षसों के राजा रावण का सर्वनाश",
        "क्ष त्र ज्ञ क़ \u0958 \u0915\u093c",
        "আমি বাংলায় গান গাই",
        "தமிழ் மொழி ਪੰਜਾਬੀ ગુજરાતી తెలుగు ಕನ್ನಡ മലയാളം සිංහල",
        "เป็นมนุษย์สุดประเสริฐเลิศคุณค่า",
        "ພາສາລາວ ភាសាខ្មែរ မြန်မာဘာသာ བོད་སྐད",
    ],
    "Cyrillic": [
        "Съешь же ещё этих мягких французских булок, да выпей чаю.",
        "Ґанок їжака; Ђорђе Њ Љ; ѢѲѴ",
        "КОГДА-ТО ДАВНО",
    ],
    "Greek": ["Ξεσκεπάζω την ψυχοφθόρα βδελυγμία.", "ΟΔΥΣΣΕΥΣ ΣΊΣΥΦΟΣ Σ σς ΑΣ", "ᾳ ᾼ ᾠδή ὕδωρ ῥήτωρ \u1ffe\u1fbd"],
    "case": [
        "STRASSE straße STRA\u1e9eE \u01c4\u01c5\u01c6 \u01f1\u01f2\u01f3",
        "\u2c6f\u2c6d\u2c70 \u023a\u2c65 \u023e\u2c66 \ua7cb\u0264 \ua7dc\u019b \u1c89 \u2c2f\u2c5f",
        "\u10a0\u2d00 \u1c90\u10d0 \u13a0\uab70 \u13f8\u13f0 \U00010400\U00010428 \U00010d50\U00010d70 \U0001e900\U0001e922",
        "\u24b6\u24d0 \uff21\uff41 \u2160\u2170 \U0001d400\U0001d41a \u212a\u212b\u2126 \u017f \u0131 \u0130",
    ],
    "combining marks": [
        "Z\u0335\u0321\u0317a\u0310\u0352l\u0334\u035bg\u0337\u0322o\u0336\u0301",
        "q\u0323\u0307 q\u0307\u0323 s\u0323\u0307 \u1e69",
        "\u0301 \u0301a \u0301\u0302\u0303 a\u20dd a\u20e3 \u0903 \u0b3e",
        "x\u0338=\u0338<\u0338 \u2260 \u226e \u2204",
        "a\u1734b \u1ab0\u1dc0\u20d0\ufe20 \u1885\u1886 \u0488\u0489",
        "e" + "\u0301" * 120,
        "\u302a\u302e\u3099\u309a か\u3099",
    ],
    "ligatures": [
        "\ufb01nd the \ufb02ower, o\ufb03ce, sta\ufb04, \ufb06op",
        "\u0132ssel \u0133s \u0149 \u01c7 \ufb13 \ufdf2",
        "\u2122 \u2120 \u33a5 \u3392 \u213b",
    ],
    "controls": [
        "nul\x00inside a\x00\x00b",
        "bell\x07 back\x08space esc\x1b[31mred\x1b[0m del\x7f",
        "a\x0bb\x0cc\x1cd\x1ee\x1ff\x85g",
        "soft\u00adhyphen zero\u200bwidth word\u2060joiner n\u200cj\u200dj",
        "\ufeffbyte order mark \ufeff inside",
        "\x80\x9f\u061c\u180e\u2061\u2064\ufff9\ufffb\U0001d173\U000e0001",
        "replacement \ufffd character\ufffdhere",
        "\u0890a\u08e2b \U000110cdc \U00013430d a\u180fb",
    ],
    "unassigned": [
        "a\u0378b \u0378",
        "a\ufdd0b \ufffe \uffff \U0001ffff \U0010ffff",
        "\U000e0080 \U0003ffff \u2fe0 a\u2065b",
    ],
    "private use": ["a\ue000b \uf8ff", "\U000f0000 \U0010fffd x\U000ffffdy", "\ue000"],
    "astral": [
        "\U0001d504\U0001d51f \U00012000\U00012001 \U00013000 \U00010330\U00010331",
        "\U0001f130 \U0001f200 \U00020000\U0002070e \U000e0100",
    ],
    "variation selectors": ["\ufe0f", "\ufe0f \ufe00", "a\ufe0fb \U000e0100 \u180b"],
    "special tokens": [
        "[CLS]",
        "[SEP]",
        "[PAD]",
        "[UNK]",
        "[MASK]",
        "[CLS] these look like [MASK] special tokens [SEP] to a tokenizer [PAD]",
        "a[SEP]b[sep]c[ SEP ] [[CLS]] [MASK][MASK] [CLS",
        "##ing ##s # # [unused0] [unused99]",
        "cafe[MASK]\u0301 e[SEP]\u0301",
        "[CLS\x00] [C\u0301LS]",
    ],
    "long words": [
        "supercalifragilisticexpialidocious pneumonoultramicroscopicsilicovolcanoconiosis",
        "x" * 99,
        "x" * 100,
        "x" * 101,
        "x" * 101 + " is longer than a word may be, " + "y" * 5000 + " too",
        "\u00e9" * 100 + " " + "\u00e9" * 101,
        "a" * 60 + "-" + "a" * 60,
        "\ud55c" * 33 + " " + "\ud55c" * 34,
        "\u0130" * 100,
        "donaudampfschifffahrtsgesellschaftskapit\u00e4nswitwe",
    ],
    "length": [
        "the " * 13,
        "the " * 14,
        "the " * 15,
        "a " * 30,
        "a " * 31,
        "one two three " * 20,
        "memory, " * 63,
        "memory, " * 63 + "memory",
        "a " * 253,
        "a " * 254,
        "a " * 255,
        "a " * 300,
        "word pieces of tokenization " * 50,
        "中" * 254,
        "中" * 255,
        "." * 254,
        "." * 255,
        "[MASK]" * 254,
        "[MASK]" * 255,
        "x" * 101 + " a" * 253,
        "q" * 5000,
        "the quick brown fox jumps over the lazy dog while it rains " * 21 + "and so on",
    ],
    "white space": [
        "  leading and trailing  ",
        "tabs\tand\nnew\r\nlines \u00a0 and \u2003 wide \u200b spaces",
        "a\u00a0b\u1680c\u2000d\u2001e\u2002f\u2003g\u2004h\u2005i\u2006j\u2007k\u2008l\u2009m\u200an\u2028o\u2029p\u202fq\u205fr\u3000s",
        "a\x0bb a\x0cb a\x85b a\u200bb a\u2060b a\ufeffb a\u180eb",
        "\n\n\nparagraph one\n\nparagraph two\r\rthree",
    ],
    "sentences": [
        "Hello, world!",
        "hello world",
        "HELLO WORLD",
        "The user prefers tea to coffee, is allergic to peanuts, and works from Lisbon on Thursdays.",
        "the user does not like coffee",
        "The quick brown fox jumps over the lazy dog.",
        "Same text in, same CID out.",
    ],
}
