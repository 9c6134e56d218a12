(() => {
  "use strict";
  const made = (tag, text, set = {}) => Object.assign(document.createElement(tag), { textContent: text }, set);
  const told = made("p", "", { className: "hidden" });
  told.setAttribute("role", "status");
  document.body.append(told);

  // Tables: a button in each header sorts by it, back, and then as printed.
  const numberOf = (text) => {
    const found = text.replace(/\u2212/g, "-").replace(/,(?=\d{3})/g, "").match(/^[<>\s]*(-?\d*\.?\d+(?:e-?\d+)?)/i);
    return found ? Number(found[1]) : NaN;
  };
  const textOf = (row, at) => row.cells[at].textContent.trim();
  const isEmpty = (text) => text === "" || text === "\u2013";
  const sorter = (rows, at) => {
    const texts = rows.map((row) => textOf(row, at)).filter((text) => !isEmpty(text));
    const numeric = texts.every((text) => !Number.isNaN(numberOf(text)));
    return (one, other) => numeric ? numberOf(one) - numberOf(other) : one.localeCompare(other, "en", { numeric: true });
  };
  for (const table of document.querySelectorAll(".scroll > table")) {
    const body = table.tBodies[0], heads = table.tHead && table.tHead.rows.length === 1 ? [...table.tHead.rows[0].cells] : [];
    const printed = body ? [...body.rows] : [];
    if (printed.length < 2 || printed.some((row) => row.cells.length !== heads.length)) continue;
    heads.forEach((head, at) => {
      if (!head.textContent.trim()) return;
      const button = made("button", "", { type: "button", className: "sort" });
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const next = { ascending: "descending", descending: "" }[head.getAttribute("aria-sort")] ?? "ascending";
        heads.forEach((one) => one.removeAttribute("aria-sort"));
        if (next) head.setAttribute("aria-sort", next);
        const compare = sorter(printed, at), sign = next === "descending" ? -1 : 1;
        const rows = !next ? printed : [...printed].sort((a, b) => {
          const [one, other] = [textOf(a, at), textOf(b, at)];
          return isEmpty(one) - isEmpty(other) || (isEmpty(one) ? 0 : sign * compare(one, other));
        });
        body.append(...rows);
        told.textContent = next ? `Sorted by ${head.textContent.trim()}, ${next}.` : "Rows in their printed order.";
      });
    });
  }

  // Figures: the drawing moves into a dialog of the window's size, and back.
  const dialog = made("dialog", "", { className: "zoom" }), bar = made("p", ""), stage = made("div", "", { className: "stage", tabIndex: 0 });
  stage.setAttribute("role", "region");
  let home = null, size = 1;
  const sized = (next) => {
    size = Math.min(4, Math.max(1, next));
    stage.firstElementChild.style.width = `${100 * size}%`;
    told.textContent = `${Math.round(100 * size)} %`;
  };
  for (const [words, act] of [["Larger", () => sized(size * 1.5)], ["Smaller", () => sized(size / 1.5)], ["Close", () => dialog.close()]]) {
    const button = made("button", words, { type: "button" });
    button.addEventListener("click", act);
    bar.append(button);
  }
  dialog.append(bar, stage);
  dialog.addEventListener("close", () => {
    const drawing = stage.firstElementChild;
    if (drawing) { drawing.style.width = ""; home.append(drawing); }
  });
  document.body.append(dialog);
  for (const figure of document.querySelectorAll("main figure:has(> .wide > svg)")) {
    const wide = figure.querySelector(".wide"), name = wide.getAttribute("aria-label") || "Figure";
    const open = () => {
      home = wide;
      stage.append(wide.firstElementChild);
      stage.setAttribute("aria-label", `${name}, enlarged`);
      dialog.setAttribute("aria-label", name);
      dialog.showModal();
      sized(1);
    };
    const button = made("button", "Enlarge", { type: "button", className: "enlarge" });
    button.setAttribute("aria-label", `Enlarge ${name.toLowerCase()}`);
    button.addEventListener("click", open);
    wide.addEventListener("click", open);
    wide.after(button);
  }

  // The index: how many reports a choice leaves.
  document.querySelectorAll(".filters").forEach((part) => part.addEventListener("change", () => {
    const cards = [...document.querySelectorAll(".reports > .card")], shown = cards.filter((card) => card.offsetParent !== null);
    told.textContent = `${shown.length} of ${cards.length} reports shown.`;
  }));
})();
