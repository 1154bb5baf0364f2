// Shows how a job gets on without reloading the page. Without it the page refreshes itself.
"use strict";

const PAUSE_MS = 1500;

async function refresh() {
  const shown = document.getElementById("job");
  try {
    const answer = await fetch(location.pathname, { credentials: "same-origin", redirect: "error" });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.getElementById("job");
    if (fresh) {
      const details = shown.querySelector("details");
      const opened = details && details.open;
      shown.replaceWith(fresh);
      document.title = page.title;
      if (opened) fresh.querySelector("details").open = true;
      if (fresh.dataset.ended === "yes") return;
    }
  } catch {
    // The server is away for a moment: ask again.
  }
  setTimeout(refresh, PAUSE_MS);
}

setTimeout(refresh, PAUSE_MS);
