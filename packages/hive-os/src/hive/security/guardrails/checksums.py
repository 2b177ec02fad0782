"""Tests by which a number or a token shows that it is what it looks like; one function each, found by name."""

import base64
import binascii
import json
import math
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

_BASE62: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_IT_ODD: Final = dict(
    zip(
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        (
            *(1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 1, 0, 5, 7, 9, 13, 15, 17, 19, 21),
            *(2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23),
        ),
        strict=True,
    )
)
_VERHOEFF_D: Final = (
    "0123456789", "1234067895", "2340178956", "3401289567", "4012395678",
    "5987604321", "6598710432", "7659821043", "8765932104", "9876543210",
)  # fmt: skip
_VERHOEFF_P: Final = (
    "0123456789", "1576283094", "5803796142", "8916043527",
    "9453126870", "4286573901", "2793806415", "7046913258",
)  # fmt: skip


def entropy(text: str) -> float:
    """Return the bits of Shannon entropy of one character."""
    size = len(text)
    return -sum(n / size * math.log2(n / size) for n in Counter(text).values()) if size else 0.0


def looks_random(text: str) -> bool:
    """Tell whether a value is too irregular for a word: many different signs, of more than one class."""
    classes = sum(
        any(test(one) for one in text) for test in (str.islower, str.isupper, str.isdigit)
    )
    return len(text) >= 12 and classes >= 2 and entropy(text) >= 3.0


def digits_of(text: str) -> list[int]:
    """Return the ASCII digits of a text."""
    return [ord(one) - 48 for one in text if "0" <= one <= "9"]


def luhn(text: str) -> bool:
    """Check the last digit as payment cards have it."""
    digits = digits_of(text)
    doubled = [
        d if n % 2 == 0 else (2 * d - 9 if d > 4 else 2 * d) for n, d in enumerate(digits[::-1])
    ]
    return len(digits) > 1 and len(set(digits)) > 1 and sum(doubled) % 10 == 0


def mod97(text: str) -> bool:
    """Check an account number (ISO 13616): country and check digits first."""
    plain = text.replace(" ", "").upper()
    turned = plain[4:] + plain[:4]
    return turned.isalnum() and int("".join(str(int(one, 36)) for one in turned)) % 97 == 1


def jwt(text: str) -> bool:
    """Check that the first part of a token is a JOSE header."""
    head = text.partition(".")[0]
    try:
        found = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and isinstance(found.get("alg"), str)


def crc32_base62(text: str) -> bool:
    """Check the six signs at the end of a token: the CRC-32 of what stands before them."""
    body = text.rpartition("_")[2]
    number, six = zlib.crc32(body[:-6].encode()), ""
    for _ in range(6):
        number, rest = divmod(number, 62)
        six = _BASE62[rest] + six
    return six == body[-6:]


def iso7064_mod11_10(text: str) -> bool:
    """Check a German tax number: the check digit, and that digits repeat as the rule has it."""
    digits = digits_of(text)
    counts = Counter(digits[:10])
    if len(digits) != 11 or len(counts) not in (8, 9) or max(counts.values()) not in (2, 3):
        return False
    product = 10
    for digit in digits[:10]:
        product = ((digit + product) % 10 or 10) * 2 % 11
    return (11 - product) % 10 == digits[10]


def fr_mod97(text: str) -> bool:
    """Check a French social security number."""
    plain = text.replace(" ", "").replace("2A", "19").replace("2B", "18")
    return len(plain) == 15 and plain.isdigit() and 97 - int(plain[:13]) % 97 == int(plain[13:])


def es_mod23(text: str) -> bool:
    """Check the letter of a Spanish DNI or NIE."""
    plain = text.replace("-", "")
    number = str("XYZ".find(plain[0])) + plain[1:-1] if plain[0] in "XYZ" else plain[:-1]
    return "TRWAGMYFPDXBNJZSQVHLCKE"[int(number) % 23] == plain[-1]


def it_mod26(text: str) -> bool:
    """Check the last letter of an Italian codice fiscale."""
    total = sum(
        _IT_ODD[one] if n % 2 == 0 else (int(one) if one.isdigit() else ord(one) - 65)
        for n, one in enumerate(text[:15])
    )
    return chr(65 + total % 26) == text[15]


def nl_eleven(text: str) -> bool:
    """Check a Dutch BSN."""
    digits = digits_of(text)
    weights = (9, 8, 7, 6, 5, 4, 3, 2, -1)
    return len(set(digits)) > 2 and sum(map(int.__mul__, digits, weights)) % 11 == 0


def pl_pesel(text: str) -> bool:
    """Check a Polish PESEL: its date and its check digit."""
    digits = digits_of(text)
    month, day = digits[2] * 10 + digits[3], digits[4] * 10 + digits[5]
    weights = (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1)
    dated = 1 <= month % 20 <= 12 and 1 <= day <= 31
    return dated and sum(map(int.__mul__, digits, weights)) % 10 == 0


def br_cpf(text: str) -> bool:
    """Check both digits of a Brazilian CPF."""
    digits = digits_of(text)
    first = sum(d * w for d, w in zip(digits, range(10, 1, -1), strict=False)) * 10 % 11 % 10
    second = sum(d * w for d, w in zip(digits, range(11, 1, -1), strict=False)) * 10 % 11 % 10
    return len(set(digits)) > 1 and digits[9:] == [first, second]


def ean13(text: str) -> bool:
    """Check a number of thirteen digits as article numbers have it (Swiss AHV)."""
    digits = digits_of(text)
    return (
        len(digits) == 13 and sum(d * (3 if n % 2 else 1) for n, d in enumerate(digits)) % 10 == 0
    )


def verhoeff(text: str) -> bool:
    """Check the last digit by Verhoeff's dihedral scheme (Indian Aadhaar)."""
    state = 0
    for place, digit in enumerate(reversed(digits_of(text))):
        state = int(_VERHOEFF_D[state][int(_VERHOEFF_P[place % 8][digit])])
    return state == 0


NUMBER_CHECKS: Final[Mapping[str, Callable[[str], bool]]] = {
    "shape": lambda _text: True,
    "iso7064-mod11-10": iso7064_mod11_10,
    "fr-mod97": fr_mod97,
    "es-mod23": es_mod23,
    "it-mod26": it_mod26,
    "nl-eleven": nl_eleven,
    "pl-pesel": pl_pesel,
    "br-cpf": br_cpf,
    "ean13": ean13,
    "verhoeff": verhoeff,
}
