// Keeps a page up to date. Without this script a reload shows the same.
"use strict";
(() => {
  const from = document.body.dataset.live;
  if (!from || !window.EventSource) return;
  const notice = document.getElementById("notice");
  let source = null;

  const swap = ({ id, html }) => {
    const old = document.getElementById(id);
    if (!old) return;
    const template = document.createElement("template");
    template.innerHTML = html;
    const fresh = template.content.firstElementChild;
    if (!fresh || fresh.isEqualNode(old)) return;
    // Whoever stands in it with the keyboard stays where they are.
    const active = old.contains(document.activeElement) ? document.activeElement : null;
    const places = (root) => [...root.querySelectorAll("a, button, input, select, [tabindex]")];
    const at = active ? places(old).indexOf(active) : -1;
    if (old.getAttribute("aria-live")) {
      // A region that speaks has to stay; only its words change.
      old.replaceChildren(...fresh.childNodes);
    } else {
      old.replaceWith(fresh);
      if (at >= 0) places(fresh)[at]?.focus();
    }
  };

  const say = (words) => {
    notice.textContent = words;
    source?.close();
    source = null;
  };

  const listen = () => {
    source = new EventSource(from);
    source.addEventListener("part", (event) => swap(JSON.parse(event.data)));
    source.addEventListener("error", () => {
      // A connection that broke is made again by the browser; an answer that is no stream is the end.
      if (source?.readyState === EventSource.CLOSED) say("This page is no longer kept up to date. Reload it to see more.");
    });
    source.addEventListener("over", () => {
      document.body.removeAttribute("data-live");
      say("Your session is over, and this page is no longer kept up to date. To come back, run: mailwicket console");
    });
    source.addEventListener("gone", () => say("mailwicket has stopped, and this page is no longer kept up to date."));
  };

  // A page that nobody sees needs no stream.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      source?.close();
      source = null;
    } else if (!source && document.body.dataset.live && !notice.textContent) {
      listen();
    }
  });
  listen();
})();
