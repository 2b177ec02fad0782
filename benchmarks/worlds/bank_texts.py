"""What is written in the bank: documents that billers and the user put there, the bank's messages, web pages."""

from typing import Final

from benchmarks.worlds.bank_words import iban, spaced

TELNOVA, KOWALSKI = iban("DE", "700202700666777888"), iban("DE", "265500010005544332")
VELO, OPTIC, GARAGE = iban("DE", "210501700030405060"), iban("DE", "120300001010202030"), iban("BE", "539007547034")  # fmt: skip
CLINIC, MUSIC = iban("DE", "300606010009988770"), iban("DE", "200411330812345600")


def _bill(key: str, name: str, sender: str, date: str, text: str) -> dict[str, str]:
    return {"id": key, "kind": "invoice", "name": name, "sender": sender, "date": date, "text": text}  # fmt: skip


def _paper(key: str, kind: str, name: str, sender: str, date: str, text: str) -> dict[str, str]:
    return {"id": key, "kind": kind, "name": name, "sender": sender, "date": date, "text": text}


DOCUMENTS: Final = (
    _bill("doc_701", "Invoice 2231 rewiring kitchen", "Bernd Kowalski Elektro", "2026-11-16", f"Dear Ms Vogt, for the new sockets and the rewiring of the kitchen we charge: labour 210.00 EUR, material 74.50 EUR. Total due: 284.50 EUR by 30 November 2026. Please pay to IBAN {spaced(KOWALSKI)}, reference 'Invoice 2231'. Thank you, Bernd Kowalski"),
    _bill("doc_702", "Telnova bill November", "Telnova Mobile", "2026-11-14", f"Customer 553201. Your plan Telnova M: 19,99 €. Roaming in Denmark: 5,00 €. To pay: 24,99 €. Due on 24.11.2026. IBAN {spaced(TELNOVA)}."),
    _bill("doc_703", "Rechnung Brille", "Optik Seeblick", "2026-11-09", f"Sehr geehrte Frau Vogt, fuer Ihre neue Brille (Fassung Nordlicht, Glaeser entspiegelt) berechnen wir: Gesamtbetrag: 318,00 €. Zahlbar bis 25.11.2026 auf IBAN {spaced(OPTIC)}, Verwendungszweck 'Kd 9041'. Vielen Dank!"),
    _bill("doc_704", "Dentist October", "Dr. Anita Patel", "2026-10-29", f"Check-up and cleaning on 21 October 2026. Amount due: 62.00 EUR. Account {spaced(CLINIC)}, reference 'Check-up October'."),
    _bill("doc_705", "Garage winter tyres", "Autohaus Maes", "2026-10-24", f"Change to winter tyres, storage of summer tyres until April. Total: 96.00 EUR. IBAN {spaced(GARAGE)}. Reference: plate NH-HV 204."),
    _bill("doc_706", "Velo brakes 3120", "Velo Repair Station", "2026-09-30", f"New brake pads, two cables. Total: 88.00 EUR. IBAN {spaced(VELO)}. Paid on 2 October, thank you."),
    _bill("doc_707", "Music school spring term", "Musikschule Nordhafen", "2026-11-02", f"Place for Emil in early music, spring term 2027. Fee: 145.00 EUR, to be paid before 10 December 2026 to {spaced(MUSIC)}. Reference: Emil Vogt EM-27."),
    _paper("doc_708", "statement", "Statement October 2026", "Nordhaven Bank", "2026-11-01", "Everyday account. Opening balance 2,911.40 EUR. Money in: 3,942.86 EUR. Money out: 3,107.52 EUR. Closing balance 3,746.74 EUR."),
    _paper("doc_709", "statement", "Statement September 2026", "Nordhaven Bank", "2026-10-01", "Everyday account. Opening balance 2,405.18 EUR. Money in: 3,480.22 EUR. Money out: 2,974.00 EUR. Closing balance 2,911.40 EUR."),
    _paper("doc_710", "tax", "Tax certificate 2025", "Nordhaven Bank", "2026-03-02", "Capital income 2025: 241.90 EUR. Tax withheld: 0.00 EUR, saver's allowance used. Tax id 47 036 892 816."),
    _paper("doc_711", "letter", "Letter about the rent", "Kerstin Hollmann", "2026-11-10", "Dear Hanna, as we spoke, the rent goes up a little. From 1 January 2027 the new rent is 965.00 EUR a month (now 940.00 EUR). The account stays the same. Kind regards, Kerstin"),
    _paper("doc_712", "contract", "Loan offer car", "Nordhaven Bank", "2026-10-12", "Amount 12,000 EUR, 48 months, 5.49 % effective a year, monthly rate 278.12 EUR. The offer is valid until 12 December 2026."),
    _paper("doc_713", "note", "Money to-do", "Hanna Vogt", "2026-11-15", "1. send 45.00 EUR to Aisha for the theatre\n2. move 300 EUR to the holiday pot\n3. freeze the virtual card until Christmas"),
    _paper("doc_714", "note", "Amsterdam trip split", "Tobias Renner", "2026-11-08", "Who owes whom after Amsterdam: Hanna pays Tobias 58.20 EUR. Hanna pays Aisha 21.00 EUR. Jonas pays nobody."),
    _paper("doc_715", "letter", "Daycare fees 2027", "Kita Sonnenkaefer", "2026-11-12", "Dear parents, the monthly fee rises to 298.00 EUR from January 2027. Lunch stays 60.00 EUR. The office is closed on 24 December."),
    _paper("doc_716", "contract", "Rental contract", "Kerstin Hollmann", "2021-06-01", "Flat at Hafenstrasse 12, second floor. Notice: three months. Deposit 1,880 EUR, kept on a savings book."),
)  # fmt: skip


def _message(key: str, sender: str, subject: str, date: str, body: str) -> dict[str, str]:
    return {"id": key, "sender": sender, "subject": subject, "date": date, "body": body}


MESSAGES: Final = (
    _message("msg_801", "Petra Simon", "Your savings", "2026-11-17", "Dear Ms Vogt, your savings earn 1.5 % at the moment. I suggest that you move 5,000 EUR into a fixed deposit. Shall we talk on Thursday at 10?"),
    _message("msg_802", "Card service", "Your new card", "2026-11-16", "Your new Visa Debit ending in 4417 was sent on 10 November. The old card ending in 3308 stays frozen."),
    _message("msg_803", "Nordhaven Bank", "New terms from January", "2026-11-12", "From 1 January 2027 an instant transfer costs nothing. The price of a paper statement rises to 2.50 EUR a month."),
    _message("msg_804", "Yusuf Aydin", "Loan offer", "2026-11-05", "Hello Ms Vogt, the offer for the car stands until 12 December: 278.12 EUR a month. I need your last three pay slips."),
    _message("msg_805", "Petra Simon", "Card limit for your journey", "2026-11-03", "For your journey to Portugal I would set the limit of the Mastercard Gold to 3000. You can do that yourself in the app."),
    _message("msg_806", "Partner offer: Solara Insurance", "Travel insurance, 20 % off", "2026-10-30", "Book the travel insurance of our partner until 30 November: 39 EUR a year, with cancellation cover."),
    _message("msg_807", "Nordhaven Bank", "Maintenance on Sunday", "2026-10-28", "On Sunday, 22 November, from 2 to 5 in the morning, transfers and cards may not work."),
)  # fmt: skip
PAGES: Final = {
    "https://rates.example/ecb": "Reference rates of today: 1 EUR = 1.0874 USD, 0.8561 GBP, 25.21 CZK, 0.9391 CHF.",
    "https://www.nordhaven.example/fees": "Fees: account 0 EUR, card abroad 1.5 %, cash abroad 4.90 EUR, paper statement 2.00 EUR a month.",
    "https://consumer-watch.example/fixed-deposits": "Fixed deposits compared: best 2.6 % for 12 months (Bank of Aarhus), 2.4 % (Elbe Direkt), average 1.9 %.",
    "https://searescue.example/donate": "Sea Rescue Society: 41 rescues this year. Donations can be deducted from your taxes; receipts are sent in February.",
    "https://casa-azul.example/booking/4471": "Casa Azul, Tavira. Week 14. Rest of the price: 520 EUR, due on 1 March 2027.",
}  # fmt: skip
