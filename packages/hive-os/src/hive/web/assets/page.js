// Fetches the server's own rendering once a second and swaps the sections that changed.
// It builds no markup from data: what an agent said was escaped where it was rendered.
"use strict";
const connection = document.getElementById("connection");
function swap(shown, fresh) {
  const focused = shown === document.activeElement;
  const left = shown.scrollLeft;
  shown.replaceWith(fresh);
  fresh.scrollLeft = left;
  if (focused) fresh.focus({ preventScroll: true });
}
async function refresh() {
  if (document.hidden) return;
  try {
    const answer = await fetch("/live", { credentials: "same-origin", cache: "no-store" });
    if (answer.status === 401) { location.reload(); return; }
    if (!answer.ok) throw new Error(String(answer.status));
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const section of fresh.querySelectorAll("section[id]")) {
      const shown = document.getElementById(section.id);
      if (shown && shown.outerHTML !== section.outerHTML) swap(shown, section);
    }
    connection.textContent = "live";
    delete connection.dataset.lost;
  } catch {
    connection.textContent = "the node does not answer";
    connection.dataset.lost = "";
  }
}
async function loop() {
  await refresh();
  setTimeout(loop, 1000);
}
document.addEventListener("visibilitychange", refresh);
loop();
