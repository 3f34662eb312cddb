"use strict";
// Without this script the page is whole: only sorting and the enlarged pictures need it.
(() => {
  const status = document.getElementById("status");

  // Tables: a column's name becomes a button; a value that is not there comes last, whichever way.
  const content = (row, column) => {
    const cell = row.cells[column];
    const text = cell.dataset.value ?? cell.textContent.trim();
    return text === "" || text === "–" ? null : Number.isNaN(Number(text)) ? text : Number(text);
  };
  const order = (a, b) => typeof a === "number" && typeof b === "number" ? a - b
    : String(a).localeCompare(String(b), "en", { numeric: true });

  const sort = (table, head) => {
    const descending = head.getAttribute("aria-sort") === "ascending";
    const body = table.tBodies[0];
    const rows = [...body.rows].sort((one, other) => {
      const [a, b] = [content(one, head.cellIndex), content(other, head.cellIndex)];
      if (a === null || b === null) return (a === null) - (b === null);
      return descending ? order(b, a) : order(a, b);
    });
    table.querySelectorAll("[aria-sort]").forEach((each) => each.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    body.append(...rows);
    status.textContent = `Sorted by ${head.textContent.trim()}, ${descending ? "descending" : "ascending"}.`;
  };
  document.querySelectorAll("table.sortable").forEach((table) => {
    [...table.tHead.rows].at(-1).querySelectorAll("th").forEach((head) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      button.append(...head.childNodes);
      button.addEventListener("click", () => sort(table, head));
      head.append(button);
    });
  });

  // Pictures: two of one row above each other, the upper one cut off at the slider.
  const viewer = document.getElementById("viewer");
  const [left, right, slide] = ["left", "right", "slide"].map((name) => document.getElementById(`viewer-${name}`));
  const before = document.getElementById("viewer-before");
  const after = document.getElementById("viewer-after");
  const sheets = viewer.querySelector(".sheets");
  const stage = viewer.querySelector(".stage");
  let row = null;
  let zoom = 1;

  const pictures = () => [...row.querySelectorAll("img")];
  const rows = () => [...row.closest("table").querySelectorAll("tr[data-prompt]")];

  const fit = () => {
    const shape = after.naturalWidth / after.naturalHeight || 1;
    const height = Math.min(stage.clientHeight, stage.clientWidth / shape);
    sheets.style.height = `${height * zoom}px`;
    sheets.style.width = `${height * zoom * shape}px`;
  };
  const cut = (share) => {
    slide.value = Math.max(0, Math.min(100, share));
    sheets.style.setProperty("--cut", `${slide.value}%`);
    slide.setAttribute("aria-valuetext", `${Math.round(slide.value)} per cent ${left.selectedOptions[0].text}`);
  };
  const show = () => {
    const shown = pictures();
    [[before, left], [after, right]].forEach(([image, choice]) => {
      image.src = shown[choice.selectedIndex].src;
      image.alt = shown[choice.selectedIndex].alt;
    });
    after.decode().catch(() => undefined).then(fit);
    cut(slide.value);
  };
  const enlarge = (factor) => {
    zoom = factor;
    viewer.querySelectorAll("[data-zoom]").forEach((button) =>
      button.setAttribute("aria-pressed", String(Number(button.dataset.zoom) === zoom)));
    fit();
    stage.scrollTo((stage.scrollWidth - stage.clientWidth) / 2, (stage.scrollHeight - stage.clientHeight) / 2);
  };
  const fill = (chosen) => {
    const titles = pictures().map((image) => image.dataset.title);
    const kept = [left.value, right.value];
    [left, right].forEach((choice) => choice.replaceChildren(...titles.map((title) => new Option(title))));
    if (chosen === null) {
      [left.value, right.value] = kept;
    } else {
      const painted = pictures()[chosen].hasAttribute("data-painted");
      left.selectedIndex = painted ? 0 : chosen;
      right.selectedIndex = painted ? chosen : pictures().findIndex((image) => image.hasAttribute("data-painted"));
    }
    document.getElementById("viewer-title").textContent = row.dataset.prompt;
    show();
  };

  document.querySelectorAll("button.shot").forEach((button) => button.addEventListener("click", () => {
    row = button.closest("tr");
    viewer.showModal();
    enlarge(1);
    slide.value = 50;
    fill(pictures().indexOf(button.querySelector("img")));
    slide.focus();
  }));
  const step = (by) => {
    const all = rows();
    row = all[(all.indexOf(row) + by + all.length) % all.length];
    fill(null);
    status.textContent = row.dataset.prompt;
  };
  const actions = { close: () => viewer.close(), previous: () => step(-1), next: () => step(1) };
  viewer.addEventListener("click", (event) => {
    const { do: action, zoom: factor } = event.target.dataset;
    if (action) actions[action]();
    if (factor) enlarge(Number(factor));
    if (event.target === viewer) viewer.close();
  });
  [left, right].forEach((choice) => choice.addEventListener("change", show));
  slide.addEventListener("input", () => cut(slide.value));
  const drag = (event) => {
    if (!(event.buttons & 1)) return;
    const box = sheets.getBoundingClientRect();
    cut((event.clientX - box.left) / box.width * 100);
  };
  ["pointerdown", "pointermove"].forEach((kind) => sheets.addEventListener(kind, drag));
  window.addEventListener("resize", () => viewer.open && fit());

  // On paper nothing can be opened.
  const closed = [];
  window.addEventListener("beforeprint", () => document.querySelectorAll("details:not([open])").forEach((each) => {
    closed.push(each);
    each.open = true;
  }));
  window.addEventListener("afterprint", () => closed.splice(0).forEach((each) => { each.open = false; }));
})();
