// Keeps a page up to date. Without this script a reload shows the same.
"use strict";
(() => {
  const from = document.body.dataset.live;
  if (!from || !window.EventSource) return;
  const notice = document.getElementById("notice");
  let source = null;

  const typed = "input:not([type=hidden]):not([type=checkbox]):not([type=radio]), textarea";
  const fieldName = (field) => `${field.form?.getAttribute("action")} ${field.name}`;
  const summary = (details) => details.querySelector("summary")?.textContent;

  // Calls `both` with what stands in the old and in the fresh part under the same name.
  const pair = (old, fresh, selector, name, both) => {
    const all = [...fresh.querySelectorAll(selector)];
    for (const one of old.querySelectorAll(selector)) {
      const twin = all.find((other) => name(other) === name(one));
      if (twin) both(one, twin);
    }
  };

  const swap = ({ id, html }) => {
    const old = document.getElementById(id);
    if (!old) return;
    const template = document.createElement("template");
    template.innerHTML = html;
    const fresh = template.content.firstElementChild;
    if (!fresh) return;
    // What somebody has opened, typed or stands in with the keyboard stays theirs.
    pair(old, fresh, "details", summary, (one, twin) => { twin.open = one.open; });
    if (fresh.isEqualNode(old)) return;
    const active = old.contains(document.activeElement) ? document.activeElement : null;
    const places = (root) => [...root.querySelectorAll("a, button, input, select, textarea, summary, [tabindex]")];
    let next = active ? places(fresh)[places(old).indexOf(active)] : null;
    let range = null;
    pair(old, fresh, typed, fieldName, (one, twin) => {
      if (one.value !== one.defaultValue) twin.value = one.value;
      if (one !== active) return;
      next = twin;
      range = [one.selectionStart, one.selectionEnd];
    });
    if (old.getAttribute("aria-live")) {
      // A region that speaks has to stay; only its words change.
      old.replaceChildren(...fresh.childNodes);
    } else {
      old.replaceWith(fresh);
    }
    next?.focus();
    if (range && range[0] !== null) next.setSelectionRange(...range);
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
