"use strict";
// The table of attacks: sorted and filtered by attack or sequence; the steps of a sequence stay below it, in order.
const AttackTable = (state) => {
  const { D, $, breakable, sign, number, median, share, radius, counted, el } = Look;
  const KEYS = [["attack", "attack"], ["model", "model"], ["norm", "norm"], ["delta", "δ"]];
  const COLUMNS = [...KEYS.map(([k, t]) => [k, t, k === "delta" ? "number" : "text"]), ...D.columns];
  const sorting = { by: "robust_accuracy", up: true };
  const folded = new Set();  // names of sequences
  const attackName = (row) => `${row.attack}${row.maximises_loss ? "" : " †"}${row.source_model === row.model ? "" : ` (found on ${row.source_model})`}`;
  const matches = (row, words) => words.every((w) => `${attackName(row)} ${row.model} ${row.norm} ${sign(row.norm)} ${row.delta}`.toLowerCase().includes(w));
  const compare = (a, b) => {
    const [p, q] = [a[sorting.by], b[sorting.by]];
    if (p === null || q === null) return (p === null) - (q === null);
    return (sorting.up ? 1 : -1) * (typeof p === "string" ? p.localeCompare(q) : p - q);
  };
  const cellText = (row, name, kind) => {
    const value = row[name];
    if (name === "norm") return sign(value);
    if (kind === "text") return value;
    if (name === "delta") return radius(value);
    if (kind in row || kind === "score") return share(value);
    if (kind === "time") return number(Number(value.toFixed(3)), 3);
    return kind === "nats" ? median(value, 3) : number(value, 3);
  };
  function fold(row) {
    const button = el("button", counted(row.steps.length, "step"), { type: "button", class: "fold", "aria-expanded": String(!folded.has(row.attack)) });
    button.addEventListener("click", () => {
      if (!folded.delete(row.attack)) folded.add(row.attack);
      const at = [...document.querySelectorAll("#table .fold")].indexOf(button);
      draw();
      document.querySelectorAll("#table .fold")[at].focus();
    });
    return button;
  }
  function line(row, look) {
    const tr = el("tr", undefined, look ? { class: look } : {});
    for (const [name, title, kind] of COLUMNS) {
      const td = el("td", undefined, { ...(name === "attack" ? {} : { "data-label": title }), ...(kind === "text" ? { class: "text" } : kind === "nats" ? { class: "words" } : {}) });
      td.append(...breakable(name === "attack" ? attackName(row) : cellText(row, name, kind)));
      if (name === "attack" && row.steps && row.steps.length) td.append(" ", fold(row));
      if (kind in row && row[name] !== null) td.append(" ", el("span", `of ${row[kind]}`, { class: "of" }));  // the denominator of a share
      tr.append(td);
    }
    return tr;
  }
  function draw() {
    const words = $("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    const every = $("all-cells").checked;
    const rows = D.table.filter((r) =>
      (every || (r.model === D.models[state.model] && r.norm === state.norm && r.delta === state.delta)) && [r, ...r.steps].some((s) => matches(s, words)));
    rows.sort(compare);
    $("table").tBodies[0].replaceChildren(...rows.flatMap((row) => [
      line(row, row.attack === D.all ? "all" : ""),
      ...(folded.has(row.attack) ? [] : row.steps.map((step) => line(step, "step"))),
    ]));
    $("table").classList.toggle("every", every);  // model, norm and radius are those at the top
    $("count").textContent = `${rows.length} of ${counted(D.table.length, "row")}`;
    for (const th of $("table").tHead.rows[0].cells) {
      th.setAttribute("aria-sort", th.dataset.key === sorting.by ? (sorting.up ? "ascending" : "descending") : "none");
    }
  }
  function make() {
    const tr = el("tr");
    for (const [name, text, kind] of COLUMNS) {
      const th = el("th", undefined, { scope: "col", "data-key": name, class: kind });
      const button = el("button", kind === "nats" ? `${text} (nats)` : text, { type: "button" });
      button.addEventListener("click", () => {
        sorting.up = sorting.by === name ? !sorting.up : true;
        sorting.by = name;
        draw();
      });
      th.append(button);
      tr.append(th);
    }
    $("table").tHead.append(tr);
    $("filter").addEventListener("input", draw);
    $("all-cells").addEventListener("change", draw);
  }
  return { draw, make };
};
