"""What real files hold by mistake, and what a bad one holds on purpose: cells, names, bytes."""

from __future__ import annotations

import random

NUMBERS = (
    *("1e999", "-1e999", "9" * 400, "-0", "0", "1e-400", "inf", "-Infinity", "nan", "NaN", "0x1F"),
    *(
        "007",
        "1_000",
        "1,234",
        "1.234,5",
        "1 234",
        "+5",
        "--5",
        "5-",
        "٣",
        "１２",
        "½",
        "1e5",
        "1e",
    ),
    *("9223372036854775807", "9223372036854775808", "-9223372036854775809", "1e300", "-1e308"),
    *("9007199254740993", "99999999999999999999", ".", ",", "-", "%", "5%", "£5", "5.0.0", "1E+2"),
)
DATES = (
    *("0000-01-01", "0001-01-01", "9999-12-31", "10000-01-01", "-2024-01-01", "2024-02-30"),
    *(
        "2024-13-01",
        "2024-00",
        "2024-13",
        "2024-1",
        "2024Q5",
        "2024Q0",
        "2024q1",
        "0000Q1",
        "202413",
    ),
    *(
        "000001",
        "999912",
        "99991231",
        "00000101",
        "20240231",
        "31/02/2024",
        "13/13/2024",
        "1/1/0000",
    ),
    *("01.01.10000", "1.1.24", "2024-W05", "2024-366", "24:00", "2024-01-01T25:61", "1970-01-01"),
    *("2024-01-01T00:00:00Z", "2024-01-01 00:00+14:00", "2024-01-01T00:00:00.123456789", "now"),
    *(
        "2262-04-12",
        "1677-09-20",
        "2024/1/1 7:5",
        "2024/01/01 99:99:99",
        "today",
        "NaT",
        "1.1.2024",
    ),
    *(
        "292277026596-12-04",
        "2024-01-01T24:00:00",
        "２０２４-０１-０１",
        "12/31/2024",
        "31/12/2024 8:30",
    ),
)
TEXTS = (
    *(
        "",
        " ",
        "\t",
        "NA",
        "NULL",
        "None",
        "null",
        "#N/A",
        "#REF!",
        "=1+1",
        "=cmd|' /C calc'!A0",
        "@x",
    ),
    *(
        '"',
        '""',
        "'",
        "\\",
        "\\n",
        "a,b",
        "a;b",
        "a|b",
        "a\tb",
        "a\nb",
        "a\r\nb",
        "\x0b",
        "\x0c",
        "\x1a",
    ),
    *(
        "\u2028",
        "\u0085",
        "\ufeff",
        "\u200b",
        "\u202e",
        "é",
        "e\u0301",
        "ﬁ",
        "İ",
        "ß",
        "😀",
        "\ud7ff",
    ),
    *(
        "A" * 300,
        "x" * 40_000,
        "true",
        "FALSE",
        "yes",
        "no",
        "0",
        "T0",
        "t0",
        "T0 ",
        "Total",
        "../x",
    ),
)
CELLS = (*NUMBERS, *DATES, *TEXTS)
NAMES = (
    *(
        "",
        " ",
        "unit",
        "period",
        "linked",
        "team",
        "team ",
        "TEAM",
        "date",
        "score",
        "0",
        "1",
        "nan",
    ),
    *(
        "None",
        "a" * 300,
        "é",
        "a\nb",
        '"',
        "a,b",
        "Unnamed: 0",
        "index",
        "level_0",
        "_merge",
        "__class__",
    ),
    *(
        "{x}",
        "%s",
        "%(x)s",
        "\x00",
        "self",
        "value",
        "n",
        "code",
        "row",
        "😀",
        "*",
        "a:b",
        "a^2",
        "1.5",
    ),
)
SECRETS = ("zanzibar.quill", "Zoë Quillfeather", "EMP7731905", "parrot nine", "9 - Zed Quill")
"""Values that no message may show; `secrets_in` finds them."""
BYTES = (
    *(
        b"\x00",
        b"\xff",
        b"\xfe\xff",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b'"',
        b"'",
        b"\r",
        b"\n",
        b"\r\n",
    ),
    *(
        b",",
        b";",
        b"\t",
        b"|",
        b"\x80",
        b"\xc3",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\x1a",
        b"\x0b",
    ),
    *(b"PK\x03\x04", b"PAR1", b"\xd0\xcf\x11\xe0", b"\x1f\x8b", b"\n\n\n", b",,,,", b'""', b'"\n"'),
)
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "cp1252", "latin-1", "utf-7")
FORMATS = (
    "%d/%m/%Y",
    "%Y-%m",
    "%Q",
    "%",
    "%Y%Y",
    "%j",
    "%f",
    "%z",
    "%c",
    "",
    "(",
    "%H:%M",
    "%s",
    "%G%V",
)
STATED = {
    "encoding": (
        "utf-8",
        "cp1252",
        "utf-16",
        "ascii",
        "klingon",
        "rot13",
        "hex",
        "base64",
        "idna",
        "",
    ),
    "delimiter": (",", ";", "\t", "|", "x", " ", '"', ",,", "", "\n", "\x00", "é", "0"),
    "decimal": (".", ","),
    "sheet": ("Sheet1", "", "0", "nosuch"),
}


def pick(rng: random.Random, options: tuple[str, ...] | list[str]) -> str:
    """One of them."""
    return options[rng.randrange(len(options))]


def spoil_bytes(content: bytes, rng: random.Random, times: int) -> bytes:
    """Bytes flipped, cut, repeated, put in and taken out."""
    found = bytearray(content)
    for _ in range(times):
        at = rng.randrange(len(found) + 1)
        end = min(len(found), at + rng.choice((1, 2, 8, 100)))
        act = rng.randrange(6)
        if act == 0 and at < len(found):
            found[at] = rng.randrange(256)
        elif act == 1:
            found[at:at] = BYTES[rng.randrange(len(BYTES))]
        elif act == 2:
            del found[at:end]
        elif act == 3:
            found[at:at] = found[at:end] * rng.choice((1, 2, 50))
        elif act == 4 and rng.random() < 0.4:
            del found[at:]
        elif act == 5:
            other = rng.randrange(len(found) + 1)
            found[at:end] = found[other : other + end - at]
    return bytes(found)


def secrets_in(text: str) -> list[str]:
    """Secrets that a text shows, in any case, also a part of one."""
    plain = text.casefold()
    return [part for part in ("quill", "emp7731905", "parrot nine") if part in plain]
