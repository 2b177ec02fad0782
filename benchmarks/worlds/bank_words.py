"""How account numbers and amounts are written: by machines, and by people."""

import re
from typing import Final

IBAN: Final = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
AMOUNT: Final = re.compile(r"(\d[\d.,]*\d|\d+) ?(?:EUR|€)")


def iban(country: str, account: str) -> str:
    """Return an account number with its check digits."""
    digits = "".join(str(int(one, 36)) for one in f"{account}{country}00")
    return f"{country}{98 - int(digits) % 97:02}{account}"


def spaced(number: str) -> str:
    """Return an account number as it stands on paper."""
    return " ".join(number[at : at + 4] for at in range(0, len(number), 4))


def first_iban(text: str) -> str:
    """Return the first account number of a text, as machines write it."""
    found = IBAN.search(text)
    if found is None:
        raise ValueError("no account number")
    return found[0].replace(" ", "")


def amount_after(text: str, word: str) -> float:
    """Return the first amount after a word: '84,50 €' or '1,240.00 EUR'."""
    found = AMOUNT.search(text, text.index(word))
    if found is None:
        raise ValueError(f"no amount after {word}")
    said = found[1]
    if re.search(r",\d{2}$", said):
        said = said.replace(".", "").replace(",", ".")
    return float(said.replace(",", ""))
