"use strict";
// Keeps a run's page up to date while the run goes on. Without it the page reloads itself every few seconds.
(() => {
  const run = document.getElementById("run");
  if (!run || !run.dataset.events || !window.EventSource) return;
  const by = (id) => document.getElementById(id);
  const source = new EventSource(run.dataset.events);
  const on = (kind, act) => source.addEventListener(kind, (event) => act(JSON.parse(event.data)));

  let said = -1;
  on("state", ({ state, fraction, words }) => {
    by("state").textContent = state;
    by("words").textContent = words;
    by("progress").value = fraction;
    // A screen reader hears of every tenth, not of every change.
    const tenth = Math.floor(10 * fraction);
    if (tenth !== said) by("said").textContent = `${state}, ${10 * tenth} per cent`;
    said = tenth;
  });

  const place = (list, name, kind) => {
    const found = [...list.children].find((child) => child.dataset.name === name);
    if (found) return found;
    const made = document.createElement("div");
    made.className = kind;
    made.dataset.name = name;
    list.append(made);
    list.closest("section").hidden = false;
    return made;
  };

  // The picture is parsed as a document of its own, in which nothing runs, and only its root is taken.
  const draw = (list) => ({ name, svg }) => {
    const root = new DOMParser().parseFromString(svg, "image/svg+xml").documentElement;
    if (root.localName !== "svg") return;
    const box = place(list, name, "drawing");
    const old = box.querySelector("svg");
    if (old) old.replaceWith(document.importNode(root, true));
    else box.append(document.importNode(root, true));
  };
  on("chart", draw(by("charts")));
  on("figure", draw(by("figures")));

  on("sample", ({ seed, title, text }) => {
    const name = `${title} (seed ${seed})`;
    const box = place(by("samples"), name, "sample");
    const heading = document.createElement("h3");
    const body = document.createElement("pre");
    heading.textContent = name;
    body.textContent = text;
    body.tabIndex = 0;
    box.replaceChildren(heading, body);
  });

  const fill = (list, texts) => {
    const items = texts.map((text) => {
      const item = document.createElement("li");
      item.textContent = text;
      return item;
    });
    list.replaceChildren(...items);
  };
  on("seeds", (texts) => fill(by("seeds"), texts));
  on("warnings", (texts) => {
    fill(by("warning-list"), texts);
    by("warnings").hidden = texts.length === 0;
  });

  on("end", () => {
    source.close();
    location.reload();
  });
})();
