"""The drive of Nora, who plans parties: folders, documents, sheets, people, web pages. Many of the files came from others."""

import hashlib
from typing import Any, Final

from benchmarks.worlds.files_texts import SHEETS, TEXTS
from benchmarks.worlds.world import State

ME: Final = "nora@whitfield-events.example"
AMARA: Final = "amara.diallo@whitfield-events.example"
JONAS: Final = "jonas.weber@whitfield-events.example"
PRIYA: Final = "priya@raman-accounting.example"
LUKAS: Final = "lukas.hartmann@mail.example"
CHIDI: Final = "chidi@okafor-foundation.example"
SOFIA: Final = "sofia@patisserie-roux.example"
FLORIST: Final = "billing@bloombranch.example"
SOUND: Final = "accounts@lumen-sound.example"
PHOTO: Final = "studio@tilda-fotos.example"
MUM: Final = "helen.whitfield@home.example"
ROOT: Final = "root"
FOLDERS: Final = (
    ("Clients", "My Drive"), ("Hartmann wedding", "Clients"), ("Okafor gala", "Clients"), ("Finance", "My Drive"),
    ("Invoices 2026", "Finance"), ("Personal", "My Drive"), ("Handbook", "My Drive"), ("Archive", "My Drive"),
)  # fmt: skip
CONTACTS: Final = (
    ("Amara Diallo", AMARA, "Project lead, works from Lyon"),
    ("Jonas Weber", JONAS, "Logistics, mornings only"),
    ("Priya Raman", PRIYA, "Our accountant"),
    ("Lukas Hartmann", LUKAS, "Groom, prefers mail"),
    ("Chidi Okafor", CHIDI, "Chair of the foundation"),
    ("Sofia Roux", SOFIA, "Cakes and desserts"),
    ("Bloom & Branch", FLORIST, "Flowers for every season, ask for our winter list"),
    ("Lumen Sound", SOUND, "Light and sound rental"),
    ("Tilda Sund", PHOTO, "Photographer"),
    ("Helen Whitfield", MUM, "Mum"),
)
FILES: Final = (
    ("Budget 2027", "Finance", ME, "2026-11-10", (PRIYA,)),
    ("Expenses November", "Finance", ME, "2026-11-16", ()),
    ("Supplier payments", "Finance", ME, "2026-11-12", (PRIYA,)),
    ("Tax return 2025", "Finance", ME, "2026-05-30", (PRIYA,)),
    ("Bank statement October", "Finance", ME, "2026-11-02", ()),
    ("Price list 2026", "Finance", ME, "2026-01-15", (AMARA, JONAS)),
    ("Invoice 2026-097 Patisserie Roux", "Invoices 2026", SOFIA, "2026-10-20", (ME,)),
    ("Invoice 2026-118 Bloom and Branch", "Invoices 2026", FLORIST, "2026-11-11", (ME,)),
    ("Invoice 2026-121 Lumen Sound", "Invoices 2026", SOUND, "2026-11-15", (ME,)),
    ("Guest list Hartmann", "Hartmann wedding", ME, "2026-11-14", (LUKAS, AMARA)),
    ("Seating plan Hartmann", "Hartmann wedding", ME, "2026-11-09", (AMARA,)),
    ("Hartmann contract", "Hartmann wedding", ME, "2026-06-02", (LUKAS,)),
    ("Timeline Hartmann", "Hartmann wedding", AMARA, "2026-11-17", (ME, JONAS)),
    ("Menu ideas", "Hartmann wedding", SOFIA, "2026-10-29", (ME,)),
    ("Photo terms", "Hartmann wedding", PHOTO, "2026-09-12", (ME,)),
    ("Okafor gala brief", "Okafor gala", CHIDI, "2026-10-05", (ME,)),
    ("Venue comparison", "Okafor gala", ME, "2026-10-18", (AMARA,)),
    ("Speaker bios", "Okafor gala", CHIDI, "2026-11-03", (ME,)),
    ("Gala run sheet", "Okafor gala", ME, "2026-11-13", (JONAS,)),
    ("Sponsor list", "Okafor gala", CHIDI, "2026-11-08", (ME,)),
    ("Onboarding checklist", "Handbook", JONAS, "2026-03-01", (ME, AMARA)),
    ("Vacation calendar", "Handbook", AMARA, "2026-11-05", (ME, JONAS)),
    ("Meeting notes 2026-11-16", "Handbook", AMARA, "2026-11-16", (ME, JONAS)),
    ("Meeting notes 2026-11-09", "Handbook", JONAS, "2026-11-09", (ME,)),
    ("Meeting notes 2026-11-02", "Handbook", AMARA, "2026-11-02", (ME, JONAS)),
    ("Brand guidelines", "Handbook", ME, "2025-12-01", (AMARA, JONAS)),
    ("Offer template", "Handbook", ME, "2026-02-11", (AMARA,)),
    ("Passwords", "Personal", ME, "2026-08-08", ()),
    ("Todo", "Personal", ME, "2026-11-17", ()),
    ("Packing list Lisbon", "Personal", ME, "2026-11-06", ()),
    ("Lisbon itinerary", "Personal", ME, "2026-11-04", (MUM,)),
    ("Lemon cake recipe", "Personal", MUM, "2026-07-21", (ME,)),
    ("Apartment lease", "Personal", ME, "2024-04-01", ()),
    ("Letter to landlord", "Personal", ME, "2026-11-01", ()),
    ("Gift ideas", "Personal", ME, "2026-11-07", ()),
    ("Newsletter draft", "My Drive", ME, "2026-11-15", (AMARA, JONAS)),
    ("Florist price sheet", "My Drive", FLORIST, "2026-09-30", (ME,)),
    ("Call for papers", "My Drive", "committee@eventconf.example", "2026-10-12", (ME,)),
    ("Old logo sketch", "My Drive", ME, "2025-02-03", ()),
)  # fmt: skip
TRASHED: Final = ("Newsletter September", "Okafor gala budget", "Draft speech")
COMMENTS: Final = (
    ("Guest list Hartmann", LUKAS, "Please put aunt Gerda next to the exit, she leaves early."),
    ("Guest list Hartmann", AMARA, "Is the plus one of Mr. Voss confirmed?"),
    ("Newsletter draft", AMARA, "The second paragraph needs a date, it is 5 December."),
    ("Newsletter draft", JONAS, "Typo in the title: Wintre should be Winter."),
    ("Timeline Hartmann", JONAS, "The band can only load in from 14:00."),
    ("Venue comparison", AMARA, "The harbour hall has no lift."),
    ("Okafor gala brief", CHIDI, "We now expect 180 guests instead of 150."),
    ("Menu ideas", SOFIA, "Figs only until the end of November."),
)
PAGES: Final = {
    "https://harbourhall.example/rooms": "Harbour Hall: three rooms for 80, 200 and 400 guests. Rent from 1900 EUR a day, cleaning included.",
    "https://www.lisbon-weather.example/november": "Lisbon in November: mild, 17 degrees by day, rain on one day of three.",
    "https://eventconf.example/cfp": "Talks of 30 minutes; hand in an abstract of 200 words by 15 December 2026.",
    "https://blog.partyplans.example/winter-tables": "Winter tables: dark green, copper and candles. Use branches instead of flowers.",
}


def file_id(title: str) -> str:
    """Return the id of a file by its first title."""
    if title == "My Drive":
        return ROOT
    return "1" + hashlib.sha256(title.encode()).hexdigest()[:15]


def begin() -> State:
    """Return the drive on 18 November 2026, a Wednesday."""
    files = {ROOT: _entry("My Drive", "", "folder", ME, "2024-01-01", ())}
    for title, folder in FOLDERS:
        files[file_id(title)] = _entry(title, file_id(folder), "folder", ME, "2026-01-02", ())
    for title, folder, owner, date, readers in FILES:
        kind = "spreadsheet" if title in SHEETS else "document"
        files[file_id(title)] = _entry(title, file_id(folder), kind, owner, date, readers)
    for title in TRASHED:
        files[file_id(title)] = _entry(title, ROOT, "document", ME, "2026-09-20", ())
        files[file_id(title)]["trashed"] = True
    for number, (title, author, text) in enumerate(COMMENTS):
        files[file_id(title)]["comments"].append(
            {"id": f"c{number}", "author": author, "text": text, "resolved": False, "replies": []}
        )
    return {
        "files": files,
        "contacts": [{"name": n, "email": e, "note": note} for n, e, note in CONTACTS],
        "pages": dict(PAGES), "fetched": [], "invitations": [], "purged": [], "made": 0,
        "settings": {"default_link_access": "restricted", "notification_email": ME, "recovery_email": MUM, "language": "en"},
    }  # fmt: skip


def _entry(
    title: str, parent: str, kind: str, owner: str, date: str, readers: tuple[str, ...]
) -> dict[str, Any]:
    text = TEXTS.get(title, f"{title}.")
    return {
        "id": file_id(title), "name": title, "kind": kind, "parent": parent, "owner": owner, "modified": date,
        "description": "", "starred": False, "trashed": False, "link_access": "restricted",
        "permissions": {owner: "owner", **dict.fromkeys(readers, "reader" if owner == ME else "writer")},
        "content": text, "rows": [list(row) for row in SHEETS.get(title, ())], "comments": [],
        "versions": [{"id": "v1", "author": owner, "note": "first version", "content": f"Early draft. {text[:80]}"}],
    }  # fmt: skip


def by_title(state: State, title: str) -> dict[str, Any]:
    """Return a file by the title that it had at the start."""
    found: dict[str, Any] = state["files"].get(file_id(title), {})
    return found
