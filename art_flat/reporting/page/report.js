"use strict";
(() => {
  const D = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const OUTCOMES = Object.keys(D.colours.outcomes);
  const SYMBOLS = ["circle", "triangle-up", "diamond", "x"];
  const [BLUE, RED, GREEN, ORANGE, PINK, SKY] = D.colours.cycle;
  const CYCLE = [BLUE, RED, GREEN, ORANGE, PINK, SKY];
  const GREY = D.colours.grey;
  const HUGE = 1e299;
  const state = { model: 0, norm: null, delta: null, attack: -1, eps: 0, sort: "robust_accuracy", up: true };

  // text that Plotly shows is read as a small HTML, so names are escaped for it; the page itself uses textContent
  const esc = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const sign = (norm) => D.signs[norm] || norm;
  const number = (v, digits = 3) =>
    v === null || v === undefined ? "–" : Math.abs(v) > HUGE ? (v > 0 ? "∞" : "−∞") : String(Number(v.toPrecision(digits)));
  const share = (v) => (v === null || v === undefined ? "–" : `${(100 * v).toFixed(1)} %`);
  const power = (v) => (v === null ? "–" : v > -6 && v < 6 ? number(10 ** v) : `10^${v.toFixed(1)}`);
  const el = (tag, text, attributes = {}) => {
    const node = document.createElement(tag);
    if (text !== undefined) node.textContent = text;
    for (const [k, v] of Object.entries(attributes)) node.setAttribute(k, v);
    return node;
  };
  const fill = (select, options, chosen) => {
    select.replaceChildren(...options.map(([value, text]) => el("option", text, { value })));
    if (chosen !== undefined) select.value = String(chosen);
  };

  // ---- look
  const dark = () => {
    const own = document.documentElement.dataset.theme;
    return own ? own === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  };
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const narrow = () => document.documentElement.clientWidth < 620;
  let printing = false;
  const draw = (id, traces, layout) => {
    const fg = printing ? "#1b1f24" : colour("--fg"), line = printing ? "#d5dae0" : colour("--line");
    const base = {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: "system-ui, -apple-system, Segoe UI, Roboto, sans-serif", size: 12, color: fg },
      margin: { l: 62, r: 16, t: 24, b: 52 }, hovermode: "closest",
      hoverlabel: { align: "left", bgcolor: colour("--soft"), bordercolor: line, font: { color: fg } },
      legend: { orientation: "h", y: narrow() ? -0.3 : -0.22, yanchor: "top", x: 0, font: { size: 11 } },
      ...layout,
    };
    for (const key of Object.keys(base)) {
      if (/^[xy]axis/.test(key)) {
        base[key] = { gridcolor: line, zerolinecolor: line, linecolor: line, automargin: true, ...base[key] };
      }
    }
    const config = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };
    return Plotly.react(id, traces, base, config);
  };
  const empty = (id, text) => draw(id, [], {
    xaxis: { visible: false }, yaxis: { visible: false },
    annotations: [{ text, showarrow: false, x: 0.5, y: 0.5, xref: "paper", yref: "paper" }],
  });
  const deltaTitle = (norm) => `radius δ (${sign(norm)}, ${norm === "L0" ? "pixels" : "clip units"})`;
  const title = (text) => ({ text });
  const powers = (text) => ({ title: title(text), tickprefix: "10<sup>", ticksuffix: "</sup>", nticks: 7 });

  // ---- what is chosen
  const model = () => D.models[state.model];
  const cell = () => D.cells.find((c) => c.model === state.model && c.norm === state.norm && c.delta === state.delta);
  const surface = () => D.surfaces.find((s) => s.model === model() && s.norm === state.norm);
  const radii = () => [...new Set(D.cells.filter((c) => c.model === state.model && c.norm === state.norm).map((c) => c.delta))];

  // ---- 2 surface, slice, curve
  function drawSurface() {
    const s = surface();
    if (!s) return empty("fig-surface", "No attack gave a result here.");
    const x = s.deltas.map((d) => number(d, 4));
    const stacked = narrow();
    const other = { certified: s.empirical, empirical: s.certified };
    const maps = ["certified", "empirical"].map((name, i) => ({
      type: "heatmap", name, x, y: s.epsilons, z: s[name], xaxis: i ? "x2" : "x", yaxis: i ? "y2" : "y", zmin: 0, zmax: 1,
      colorscale: "Cividis", showscale: i === 1, colorbar: { title: { text: "share of samples", side: "right" }, thickness: 12 },
      customdata: s[name].map((row, a) => row.map((v, b) => {
        const [low, high] = name === "certified" ? [v, other[name][a][b]] : [other[name][a][b], v];
        return `certified ${share(low)} ≤ truth ≤ ${share(high)}`;
      })),
      hovertemplate: "δ = %{x}, ε = %{y} nats<br>%{customdata}<extra></extra>",
    }));
    const e = s.epsilons[state.eps];
    const mark = (i) => ({ type: "line", xref: `x${i} domain`, yref: `y${i}`, x0: 0, x1: 1, y0: e, y1: e, line: { color: RED, width: 2, dash: "dash" } });
    const nothing = s.certified.every((row) => row.every((v) => v === null));
    const head = (text, i) => ({ text, showarrow: false, xref: `x${i} domain`, yref: `y${i} domain`, x: 0, y: 1, xanchor: "left", yanchor: "bottom", font: { size: 13 } });
    const y = { type: "log", title: title("tolerated loss change ε (nats)") };
    const notes = [head("certified (at least)", ""), head("not broken (at most)", "2")];
    if (nothing) notes.push({ text: "nothing certified", showarrow: false, xref: "x domain", yref: "y domain", x: 0.5, y: 0.5 });
    return draw("fig-surface", maps, {
      grid: stacked ? { rows: 2, columns: 1, pattern: "independent", ygap: 0.3 } : { rows: 1, columns: 2, pattern: "independent", xgap: 0.12 },
      xaxis: { type: "category", title: title(deltaTitle(state.norm)) }, xaxis2: { type: "category", title: title(deltaTitle(state.norm)) },
      yaxis: y, yaxis2: { ...y, title: title(stacked ? y.title.text : "") }, shapes: [mark(""), mark("2")], annotations: notes,
    });
  }
  function drawSlice() {
    const s = surface();
    if (!s) { $("eps-value").textContent = "–"; return empty("fig-slice", "No attack gave a result here."); }
    $("eps-value").textContent = number(s.epsilons[state.eps], 3);
    const x = [0, ...s.deltas];
    const lines = [];
    if (s.certified[state.eps].some((v) => v !== null)) {
      lines.push({ x, y: [1, ...s.certified[state.eps]], name: "certified", mode: "lines+markers", line: { color: BLUE }, marker: { symbol: "square" } });
    }
    lines.push({ x, y: [1, ...s.empirical[state.eps]], name: "not broken by any attack", mode: "lines+markers", line: { color: RED }, fill: lines.length ? "tonexty" : "none", fillcolor: "rgba(138,143,152,0.22)" });
    return draw("fig-slice", lines.map((l) => ({ type: "scatter", hovertemplate: "δ = %{x:.4g}: %{y:.1%}", ...l })), {
      xaxis: { title: title(deltaTitle(state.norm)), rangemode: "tozero" }, yaxis: { title: title("share of samples"), range: [-0.03, 1.03] },
    });
  }
  function drawCurve() {
    const curves = D.curves.filter((c) => c.model === model() && c.norm === state.norm);
    if (!curves.length) return empty("fig-curve", "No attack gave a result here.");
    const overall = curves.find((c) => c.attack === D.all) || (curves.length === 1 ? curves[0] : null);
    const single = curves.filter((c) => c.attack !== D.all);
    const traces = single.map((c, i) => ({
      x: [0, ...c.delta], y: [c.accuracy, ...c.robust], name: "single attacks", legendgroup: "single", showlegend: i === 0, mode: "lines",
      line: { color: GREY, width: 1 }, hovertemplate: `${esc(c.attack)}<br>δ = %{x:.4g}: %{y:.1%}<extra></extra>`,
    }));
    if (overall) {
      if (overall.certified.some((v) => v !== null)) {
        traces.push({ x: overall.delta, y: overall.certified, name: "certified", mode: "lines+markers", line: { color: BLUE, width: 2.5 }, marker: { symbol: "square" }, hovertemplate: "certified<br>δ = %{x:.4g}: %{y:.1%}<extra></extra>" });
      }
      traces.push({ x: [0, ...overall.delta], y: [overall.accuracy, ...overall.robust], name: "worst of all attacks", mode: "lines+markers", line: { color: RED, width: 2.5 }, hovertemplate: "worst of all<br>δ = %{x:.4g}: %{y:.1%}<extra></extra>" });
    }
    return draw("fig-curve", traces.map((t) => ({ type: "scatter", ...t })), {
      xaxis: { title: title(deltaTitle(state.norm)), rangemode: "tozero" }, yaxis: { title: title("accuracy (share of samples)"), range: [-0.03, 1.03] },
    });
  }

  // ---- 3 table
  const KEYS = [["attack", "attack"], ["model", "model"], ["norm", "norm"], ["delta", "δ"]];
  const COLUMNS = [...KEYS.map(([k, t]) => [k, t, k === "delta" ? "number" : "text"]), ...D.columns];
  const attackName = (row) => `${row.attack}${row.maximises_loss ? "" : " †"}${row.source_model === row.model ? "" : ` (found on ${row.source_model})`}`;
  function drawTable() {
    const words = $("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    const every = $("all-cells").checked;
    const rows = D.table.filter((r) =>
      (every || (r.model === model() && r.norm === state.norm && r.delta === state.delta)) &&
      words.every((w) => `${attackName(r)} ${r.model} ${r.norm} ${sign(r.norm)} ${r.delta}`.toLowerCase().includes(w)));
    const key = state.sort, way = state.up ? 1 : -1;
    rows.sort((a, b) => {
      const [p, q] = [a[key], b[key]];
      if (p === null || q === null) return (p === null) - (q === null);
      return way * (typeof p === "string" ? p.localeCompare(q) : p - q);
    });
    $("table").tBodies[0].replaceChildren(...rows.map((row) => {
      const tr = el("tr", undefined, row.attack === D.all ? { class: "all" } : {});
      for (const [name, , kind] of COLUMNS) {
        const value = row[name];
        const text = name === "attack" ? attackName(row) : name === "norm" ? sign(value) : kind === "text" ? value : kind === "share" ? share(value) : number(value, 4);
        tr.append(el("td", text, kind === "text" ? { class: "text" } : {}));
      }
      return tr;
    }));
    $("count").textContent = `${rows.length} of ${D.table.length} rows`;
    for (const th of $("table").tHead.rows[0].cells) {
      th.setAttribute("aria-sort", th.dataset.key === key ? (state.up ? "ascending" : "descending") : "none");
    }
  }
  function makeTable() {
    const tr = el("tr");
    for (const [name, text, kind] of COLUMNS) {
      const th = el("th", undefined, { scope: "col", "data-key": name, class: kind });
      const button = el("button", kind === "nats" ? `${text} (nats)` : text, { type: "button" });
      button.addEventListener("click", () => {
        state.up = state.sort === name ? !state.up : true;
        state.sort = name;
        drawTable();
      });
      th.append(button);
      tr.append(th);
    }
    $("table").tHead.append(tr);
    $("filter").addEventListener("input", drawTable);
    $("all-cells").addEventListener("change", drawTable);
  }

  // ---- 4 clouds
  const cloud = () => {
    const c = cell();
    return c && (c.clouds.find((k) => k.attack === state.attack) || c.clouds[0]);
  };
  const clean = (sample) => D.clean[state.model][sample];  // label, pred, loss, confidence, log10 κ
  const attackOf = (i) => (i < 0 ? "an attack" : D.attacks[i]);
  function drawClouds() {
    const k = cloud();
    if (!k || !k.points.row.length) {
      empty("fig-kappa", "No point to show.");
      return empty("fig-confidence", "No point to show.");
    }
    const p = k.points, names = [];
    const sets = OUTCOMES.map((outcome, o) => {
      const at = [...p.row.keys()].filter((i) => p.outcome[i] === o);
      names.push(`${outcome} (${share(k.outcomes[o] / k.n)})`);
      return at;
    });
    const hover = (i) => {
      const c = clean(p.sample[i]);
      return `sample ${p.sample[i]}: ${c[0]}, clean ${c[1]}, attacked ${p.pred[i]}<br>${esc(attackOf(p.attack[i]))}<br>Δℓ ${number(p.change[i])} nats, max p ${number(p.confidence[i])}<br>κ ${power(c[4])} → ${power(p.kappa[i])} nats`;
    };
    const traces = (xs, ys) => sets.map((at, o) => ({
      type: "scatter", mode: "markers", name: names[o], x: at.map(xs), y: at.map(ys), customdata: at, text: at.map(hover),
      hovertemplate: "%{text}<extra></extra>", marker: { color: D.colours.outcomes[OUTCOMES[o]], symbol: SYMBOLS[o], size: 7, opacity: 0.7 },
    })).filter((t) => t.x.length);
    const before = p.row.map((_, i) => clean(p.sample[i])[4]);
    const finite = [...before, ...p.kappa].filter((v) => v !== null && v > -299);
    const low = Math.min(...finite), high = Math.max(...finite);
    const diagonal = { type: "line", x0: low, y0: low, x1: high, y1: high, line: { color: GREY, dash: "dash", width: 1 }, layer: "below" };
    draw("fig-kappa", traces((i) => before[i], (i) => p.kappa[i]), {
      xaxis: powers("κ at the clean point (nats)"), yaxis: powers("κ at the adversarial point (nats)"), shapes: finite.length ? [diagonal] : [],
    });
    draw("fig-confidence", traces((i) => p.kappa[i], (i) => p.confidence[i]), {
      xaxis: powers("κ at the adversarial point (nats)"), yaxis: { title: title("confidence max p at the adversarial point") },
    });
    for (const id of ["fig-kappa", "fig-confidence"]) {
      const node = $(id);
      if (!node.dataset.bound) {
        node.dataset.bound = "1";
        node.on("plotly_click", (event) => showPoint(cloud().points, event.points[0].customdata));
      }
    }
  }
  function pictures(row, sample) {
    const box = el("div", undefined, { class: "images" });
    const add = (uri, caption) => {
      const figure = el("figure");
      figure.append(el("img", undefined, { src: uri, alt: `${caption}, sample ${sample}` }), el("figcaption", caption));
      box.append(figure);
    };
    const first = D.images.clean[`${state.model}:${sample}`], moved = D.images.points[row];
    if (first) add(first, "clean");
    if (moved) { add(moved[0], "adversarial"); add(moved[1], `difference × ${moved[2]}`); }
    return { box, clean: Boolean(first), moved: Boolean(moved) };
  }
  function facts(p, i) {
    const c = clean(p.sample[i]);
    return [["attack", attackOf(p.attack[i])], ["true label", c[0]], ["predicted", `${c[1]} clean, ${p.pred[i]} attacked (${OUTCOMES[p.outcome[i]]})`],
      ["loss ℓ", `${number(c[2])} nats, change ${number(p.change[i])} nats`], ["confidence", `${number(c[3])} → ${number(p.confidence[i])}`],
      ["κ", `${power(c[4])} → ${power(p.kappa[i])} nats`], ["distance", `${number(p.distance[i], 4)} (${sign(state.norm)}, clip units)`]];
  }
  function showPoint(p, i) {
    const box = $("point");
    const shown = pictures(p.row[i], p.sample[i]);
    const list = el("dl", undefined, { class: "facts" });
    for (const [k, v] of facts(p, i)) list.append(el("dt", k), el("dd", String(v)));
    box.replaceChildren(el("h3", `Sample ${p.sample[i]}`), shown.box, list);
    if (!shown.moved) {
      box.append(el("p", D.images.reason || "The image of this point is not embedded; the page holds a few hundred.", { class: "note" }));
    }
  }
  function showSample() {
    const k = cloud(), wanted = Number($("sample-id").value);
    const i = k ? k.points.sample.indexOf(wanted) : -1;
    if (i >= 0) showPoint(k.points, i);
    else $("point").replaceChildren(el("p", `Sample ${wanted} is not among the points drawn here.`, { class: "dim" }));
  }
  function drawBoxes() {
    const c = cell();
    const boxes = c ? c.boxes.filter((b) => b.change) : [];
    if (!boxes.length) return empty("fig-boxes", "No attack gave a point here.");
    const cut = (name) => (name.length > 34 && narrow() ? `${name.slice(0, 18)}…` : name.length > 46 ? `${name.slice(0, 44)}…` : name);
    const names = boxes.map((b) => esc(cut(D.attacks[b.attack])));
    const part = (key, axis) => {
      const has = boxes.map((b, i) => [b[key], names[i]]).filter(([q]) => q);
      const column = (i) => has.map(([q]) => q[i]);
      return { type: "box", orientation: "h", y: has.map(([, n]) => n), lowerfence: column(0), q1: column(1), median: column(2), q3: column(3), upperfence: column(4), xaxis: axis, yaxis: axis.replace("x", "y"), showlegend: false, line: { color: axis === "x" ? BLUE : RED }, boxpoints: false };
    };
    $("fig-boxes").style.height = `${(narrow() ? 2 : 1) * (110 + 30 * boxes.length)}px`;
    const shared = { autorange: "reversed", type: "category", dtick: 1 };
    return draw("fig-boxes", [part("change", "x"), part("ratio", "x2")], {
      grid: narrow() ? { rows: 2, columns: 1, pattern: "independent", ygap: 0.3 } : { rows: 1, columns: 2, pattern: "independent", xgap: 0.05 },
      xaxis: { title: title("loss change Δℓ (nats)") }, xaxis2: powers("κ adversarial over κ clean"),
      yaxis: shared, yaxis2: narrow() ? shared : { ...shared, showticklabels: false },
    });
  }

  // ---- 5 analyses
  const A = D.analyses;
  const named = (a) => `${a.model}: ${a.attack}, ${sign(a.norm)}${a.delta === null ? "" : `, δ = ${number(a.delta, 4)}`}`;
  const band = (x, rows, axis, tint, name, legend) => [
    { x: [...x, ...[...x].reverse()], y: [...rows[2], ...[...rows[0]].reverse()], fill: "toself", fillcolor: `${tint}33`, line: { width: 0 }, mode: "lines", hoverinfo: "skip", name: `${name}, 10 to 90 %`, showlegend: legend },
    { x, y: rows[1], mode: "lines", line: { color: tint, width: 2 }, name: `${name}, median`, showlegend: legend, hovertemplate: "%{x}: %{y:.3g}<extra></extra>" },
  ].map((t) => ({ type: "scatter", ...axis, ...t }));
  function drawTrajectory() {
    const t = A.trajectories[$("trajectory").value];
    if (!t) return;
    const flip = $("from-flip").checked, way = flip ? t.flip : t.start;
    $("trajectory-note").textContent = `${t.samples} samples right when clean; ${share(t.success)} made wrong; ${share(t.uncanny)} end in the valley. Dashed: the flip${flip ? "" : ", in the median"}. A step is drawn while at least half of the samples have one.`;
    if (!way.step.length) return empty("fig-trajectory", "No sample flips.");
    const at = flip ? 0 : t.median_flip;
    const axes = ["", "2", "3"];
    const traces = ["kappa", "loss", "confidence"].flatMap((q, i) => band(way.step, way[q], { xaxis: "x", yaxis: `y${axes[i]}` }, BLUE, "samples", i === 0));
    const shapes = at === null ? [] : axes.map((i) => ({ type: "line", xref: "x", yref: `y${i} domain`, x0: at, x1: at, y0: 0, y1: 1, line: { color: RED, dash: "dash", width: 1.5 } }));
    return draw("fig-trajectory", traces, {
      xaxis: { title: title(flip ? "steps from the flip" : "step (forward passes of the sample)"), anchor: "y3" },
      yaxis: { ...powers("κ (nats)"), domain: [0.7, 1] }, yaxis2: { title: title("loss ℓ (nats)"), domain: [0.36, 0.64] }, yaxis3: { title: title("confidence max p"), domain: [0, 0.3] },
      shapes, legend: { orientation: "h", y: 1.06, x: 0 },
    });
  }
  function drawSweep() {
    const s = A.sweeps[$("sweep").value];
    if (!s) return;
    const shares = Object.entries(s.shares).map(([label, y], i) => ({ type: "scatter", mode: "lines+markers", x: s.scale, y, name: esc(label), line: { color: CYCLE[i] }, marker: { symbol: SYMBOLS[i] }, hovertemplate: `${esc(label)}<br>s = %{x}: %{y:.1%}<extra></extra>` }));
    const kappas = [["clean", BLUE], ["adv", RED]].flatMap(([k, tint]) => band(s.scale, s.kappa[k], { xaxis: "x2", yaxis: "y2" }, tint, `κ ${k === "adv" ? "adversarial" : k}`, true));
    const x = { type: "log", title: title("scale s of the head"), tickvals: s.scale, tickangle: -45 };
    return draw("fig-sweep", [...shares, ...kappas], {
      grid: narrow() ? { rows: 2, columns: 1, pattern: "independent", ygap: 0.35 } : { rows: 1, columns: 2, pattern: "independent", xgap: 0.14 },
      xaxis: x, xaxis2: x, yaxis: { title: title("share of samples"), range: [-0.03, 1.03] }, yaxis2: powers("κ (nats)"), legend: { orientation: "h", y: narrow() ? -0.12 : -0.35, x: 0, font: { size: 11 } },
    });
  }
  const QUANTITIES = { loss: "loss ℓ (nats), median", log_kappa: "κ (nats), median", confidence: "confidence max p, median", curvature: "curvature (nats per squared clip unit), median" };
  function drawProfile() {
    const p = A.profiles.find((k) => k.model === model()) || A.profiles[0];
    if (!p) return;
    const q = $("profile").value;
    const traces = Object.entries(p.rays).map(([direction, ray], i) => ({ type: "scatter", mode: "lines", name: esc(direction), x: ray.radius, y: ray[q], line: { color: CYCLE[i], dash: ["solid", "dash", "dot", "dashdot"][i % 4], width: 2 } }));
    return draw("fig-profile", traces, { xaxis: { title: title("distance from the sample (L2, clip units)") }, yaxis: q === "log_kappa" ? powers(QUANTITIES[q]) : { title: title(QUANTITIES[q]) } });
  }
  function makeAnalyses() {
    const lists = { trajectory: A.trajectories, sweep: A.sweeps };
    for (const [id, list] of Object.entries(lists)) {
      $(`block-${id}`).hidden = !list.length;
      fill($(id), list.map((a, i) => [i, named(a)]), list.length ? Math.floor(list.length / 2) : undefined);
    }
    $("block-profile").hidden = !A.profiles.length;
    fill($("profile"), Object.keys(QUANTITIES).map((q) => [q, QUANTITIES[q].replace(", median", "")]));
    $("valley-none").hidden = Boolean(A.trajectories.length || A.sweeps.length || A.profiles.length);
    $("trajectory").addEventListener("change", drawTrajectory);
    $("from-flip").addEventListener("change", drawTrajectory);
    $("sweep").addEventListener("change", drawSweep);
    $("profile").addEventListener("change", drawProfile);
  }

  // ---- 6 samples
  const KINDS = { loss: "Largest loss increase", flat: "Flattest wrong points", fragile: "Most fragile: nearest wrong points" };
  function drawGallery() {
    const c = cell(), box = $("gallery");
    box.replaceChildren();
    for (const [kind, text] of Object.entries(KINDS)) {
      box.append(el("h3", text));
      const p = c ? c.gallery[kind] : null;
      if (!p || !p.row.length) { box.append(el("p", "No sample has such a point at this radius.", { class: "dim" })); continue; }
      const cards = el("div", undefined, { class: "cards" });
      p.row.forEach((row, i) => {
        const card = el("div", undefined, { class: "card" }), k = clean(p.sample[i]);
        card.append(pictures(row, p.sample[i]).box);
        card.append(el("p", `Sample ${p.sample[i]}: ${k[0]}, taken for ${p.pred[i]}. Δℓ ${number(p.change[i])} nats, κ ${power(k[4])} → ${power(p.kappa[i])} nats, distance ${number(p.distance[i], 3)}.`), el("p", attackOf(p.attack[i]), { class: "dim" }));
        cards.append(card);
      });
      box.append(cards);
    }
  }

  // ---- everything
  const parts = [drawSurface, drawSlice, drawCurve, drawTable, drawClouds, drawBoxes, drawGallery, drawTrajectory, drawSweep, drawProfile];
  const drawAll = () => parts.forEach((part) => part());
  function choices() {
    const norms = [...new Set(D.cells.filter((c) => c.model === state.model).map((c) => c.norm))];
    if (!norms.includes(state.norm)) state.norm = norms[0];
    const deltas = radii();
    if (!deltas.includes(state.delta)) state.delta = deltas[Math.floor((deltas.length - 1) / 2)];
    fill($("norm"), norms.map((n) => [n, sign(n)]), state.norm);
    fill($("delta"), deltas.map((d) => [d, number(d, 4)]), state.delta);
    const c = cell();
    const attacks = c ? c.clouds.map((k) => k.attack) : [-1];
    if (!attacks.includes(state.attack)) state.attack = -1;
    fill($("attack"), attacks.map((a) => [a, a < 0 ? "worst of all" : D.attacks[a]]), state.attack);
  }
  fill($("model"), D.models.map((m, i) => [i, m]), 0);
  const change = (id, key, read) => $(id).addEventListener("change", () => { state[key] = read($(id).value); choices(); drawAll(); });
  change("model", "model", Number);
  change("norm", "norm", String);
  change("delta", "delta", Number);
  $("attack").addEventListener("change", () => { state.attack = Number($("attack").value); drawClouds(); });
  $("show-sample").addEventListener("click", showSample);
  $("sample-id").addEventListener("keydown", (event) => { if (event.key === "Enter") showSample(); });
  const levels = D.surfaces.length ? D.surfaces[0].epsilons : [D.epsilon];
  state.eps = levels.reduce((best, e, i) => (Math.abs(Math.log(e / D.epsilon)) < Math.abs(Math.log(levels[best] / D.epsilon)) ? i : best), 0);
  $("eps").max = levels.length - 1;
  $("eps").value = state.eps;
  $("eps").addEventListener("input", () => { state.eps = Number($("eps").value); drawSurface(); drawSlice(); });
  const THEMES = ["", "light", "dark"];
  $("theme").addEventListener("click", () => {
    const next = THEMES[(THEMES.indexOf(document.documentElement.dataset.theme || "") + 1) % 3];
    if (next) document.documentElement.dataset.theme = next; else delete document.documentElement.dataset.theme;
    $("theme").textContent = `Theme: ${next || "automatic"}`;
    drawAll();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  let was = narrow();
  addEventListener("resize", () => { if (narrow() !== was) { was = narrow(); drawAll(); } });
  let own;
  addEventListener("beforeprint", () => { own = document.documentElement.dataset.theme; document.documentElement.dataset.theme = "light"; printing = true; drawAll(); });
  addEventListener("afterprint", () => { printing = false; if (own) document.documentElement.dataset.theme = own; else delete document.documentElement.dataset.theme; drawAll(); });
  makeTable();
  makeAnalyses();
  choices();
  drawAll();
  document.documentElement.dataset.ready = "1";
})();
