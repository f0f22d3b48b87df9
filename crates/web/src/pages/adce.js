// Renews what a page shows when something moves. Without it every page is whole, and as old as when it was loaded.
"use strict";
(() => {
  const live = document.querySelector("main[data-live]");
  if (!live || !window.EventSource) return;
  const told = document.getElementById("told");
  let waiting = false, again = false, before = null;
  const busy = () => {
    const at = document.activeElement;
    return at && live.contains(at) && /^(INPUT|SELECT|TEXTAREA)$/.test(at.tagName);
  };
  const renew = async () => {
    if (waiting) { again = true; return; }
    waiting = true;
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" }, credentials: "same-origin", redirect: "error" });
      if (answer.ok && !busy()) {
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        const fresh = page.querySelector("main[data-live]");
        if (fresh) {
          const at = document.activeElement, id = at && live.contains(at) ? at.id : null;
          const scrolled = [...live.querySelectorAll(".wide,.tall,pre")].map((box) => [box.scrollLeft, box.scrollTop]);
          const open = [...live.querySelectorAll("details")].map((box) => box.open);
          live.replaceChildren(...fresh.childNodes);
          live.querySelectorAll(".wide,.tall,pre").forEach((box, i) => { if (scrolled[i]) [box.scrollLeft, box.scrollTop] = scrolled[i]; });
          live.querySelectorAll("details").forEach((box, i) => { if (open[i] !== undefined) box.open = open[i]; });
          if (id) document.getElementById(id)?.focus({ preventScroll: true });
        }
      }
    } catch { /* The next event tries again. */ }
    setTimeout(() => { waiting = false; if (again) { again = false; renew(); } }, 1000);
  };
  const source = new EventSource("/v1/events");
  source.addEventListener("status", (event) => {
    const now = JSON.parse(event.data);
    if (before && told && now.complete !== before.complete) told.textContent = now.complete ? "Complete" : "Not complete any more";
    if (before) renew();
    before = now;
    document.documentElement.dataset.live = "on";
  });
  source.addEventListener("error", () => { document.documentElement.dataset.live = "off"; });
})();
