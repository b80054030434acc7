// Keyboard and copying. Every page works without this file.
"use strict";
(() => {
  const OFF = "ream.keys-off";
  const stored = (key) => { try { return localStorage.getItem(key); } catch { return null; } };
  const store = (key, value) => { try { localStorage.setItem(key, value); } catch { /* the choice lasts for this page */ } };
  let keysOff = stored(OFF) === "1";

  // Buttons that copy the text of the element that `data-copy` names.
  for (const button of document.querySelectorAll("button[data-copy]")) {
    const source = document.getElementById(button.dataset.copy);
    if (!source || !navigator.clipboard) continue;
    button.hidden = false;
    const word = button.textContent;
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(source.textContent.trim());
        button.textContent = "Copied";
      } catch {
        button.textContent = "Not copied";
      }
      setTimeout(() => { button.textContent = word; }, 1600);
    });
  }

  // The switch on the page of keys.
  const toggle = document.getElementById("keys-switch");
  if (toggle) {
    toggle.hidden = false;
    const box = toggle.querySelector("input");
    box.checked = !keysOff;
    box.addEventListener("change", () => {
      keysOff = !box.checked;
      store(OFF, keysOff ? "1" : "0");
    });
  }

  // j and k walk along the items of a list, o opens.
  const items = () => [...document.querySelectorAll("[data-item]")];
  const link = (item) => item.querySelector("[data-open]") || item.querySelector("a");
  const current = (all) => all.findIndex((item) => item.contains(document.activeElement));
  const step = (by) => {
    const all = items();
    if (all.length === 0) return;
    const at = current(all);
    const next = at < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(Math.max(at + by, 0), all.length - 1);
    const target = link(all[next]);
    if (!target) return;
    target.focus();
    all[next].scrollIntoView({ block: "nearest" });
  };
  const mark = () => {
    const all = items();
    const at = current(all);
    all.forEach((item, i) => item.classList.toggle("selected", i === at));
  };
  document.addEventListener("focusin", mark);
  const typing = (element) => element instanceof Element
    && (element.isContentEditable || element.matches("input:not([type=checkbox]):not([type=radio]), textarea, select"));

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && typing(document.activeElement)) { document.activeElement.blur(); return; }
    if (keysOff || event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
    switch (event.key) {
      case "j": step(1); break;
      case "k": step(-1); break;
      case "o": {
        const all = items();
        const at = current(all);
        if (at < 0) return;
        link(all[at])?.click();
        break;
      }
      case "/": document.getElementById("find")?.focus(); break;
      case "?": location.assign("/keys"); break;
      default: return;
    }
    event.preventDefault();
  });
})();
