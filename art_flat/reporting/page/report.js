"use strict";
(() => {
  const { D, $, MODEBAR, CYCLE, GREY, SYMBOLS, esc, sign, number, share, positive, power, radius, counted, el, fill, root, narrow, tone, title, powers, deltaTitle, stepLine, bracket, draw, empty } = Look;
  const OUTCOMES = Object.keys(D.colours.outcomes);
  const [BLUE, RED] = CYCLE;
  const state = { model: 0, norm: null, delta: null, attack: -1, eps: 0 };

  // ---- what is chosen
  const model = () => D.models[state.model];
  const cell = () => D.cells.find((c) => c.model === state.model && c.norm === state.norm && c.delta === state.delta);
  const surface = () => D.surfaces.find((s) => s.model === model() && s.norm === state.norm);
  const radii = () => [...new Set(D.cells.filter((c) => c.model === state.model && c.norm === state.norm).map((c) => c.delta))];

  // ---- 2 surface, slice, curve
  function drawSurface() {
    const s = surface();
    if (!s) return empty("fig-surface", "No attack has a result here.");
    const x = s.deltas.map(radius);
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
      grid: stacked ? { rows: 2, columns: 1, pattern: "independent", ygap: 0.3 } : { rows: 1, columns: 2, pattern: "independent", xgap: 0.16 },
      xaxis: { type: "category", title: title(deltaTitle(state.norm)) }, xaxis2: { type: "category", title: title(deltaTitle(state.norm)) },
      yaxis: y, yaxis2: { ...y, title: title(stacked ? y.title.text : "") }, shapes: [mark(""), mark("2")], annotations: notes, margin: { l: 62, r: 16, t: MODEBAR + 20, b: 52 },
    });
  }
  function drawSlice() {
    const s = surface();
    if (!s) { $("eps-value").textContent = "–"; return empty("fig-slice", "No attack has a result here."); }
    $("eps-value").textContent = number(s.epsilons[state.eps], 3);
    const lines = bracket(s.deltas, s.empirical[state.eps], s.certified[state.eps], 1, {
      certified: { name: "certified", line: { color: tone(BLUE) }, marker: { symbol: "square" } },
      attacked: { name: "not broken by any attack", line: { color: RED } },
    });
    return draw("fig-slice", lines.map((l) => ({ type: "scatter", hovertemplate: "δ = %{x:.4g}: %{y:.1%}", ...l })), {
      xaxis: { title: title(deltaTitle(state.norm)), rangemode: "tozero" }, yaxis: { title: title("share of samples"), range: [-0.03, 1.03] },
    });
  }
  function drawCurve() {
    const curves = D.curves.filter((c) => c.model === model() && c.norm === state.norm);
    if (!curves.length) return empty("fig-curve", "No attack has a result here.");
    const overall = curves.find((c) => c.attack === D.all) || (curves.length === 1 ? curves[0] : null);
    const traces = [[true, "single attacks", "solid"], [false, "points found on other models", "dot"]].flatMap(([own, name, dash]) =>
      curves.filter((c) => c.attack !== D.all && (c.source_model === c.model) === own).map((c, i) => ({
        ...stepLine(c.delta, c.robust, c.accuracy, "attacked", { line: { color: GREY, width: 1, dash } }), name, legendgroup: name, showlegend: i === 0, mode: "lines",
        hovertemplate: `${esc(c.attack)}${own ? "" : ` (found on ${esc(c.source_model)})`}<br>δ = %{x:.4g}: %{y:.1%}<extra></extra>`,
      })));
    if (overall) {
      traces.push(...bracket(overall.delta, overall.robust, overall.certified, overall.accuracy, {
        certified: { name: "certified", line: { color: tone(BLUE), width: 2.5 }, marker: { symbol: "square" }, hovertemplate: "certified<br>δ = %{x:.4g}: %{y:.1%}<extra></extra>" },
        attacked: { name: "worst of all attacks", line: { color: RED, width: 2.5 }, hovertemplate: "worst of all<br>δ = %{x:.4g}: %{y:.1%}<extra></extra>" },
      }));
    }
    return draw("fig-curve", traces.map((t) => ({ type: "scatter", ...t })), {
      xaxis: { title: title(deltaTitle(state.norm)), rangemode: "tozero" }, yaxis: { title: title("accuracy (share of samples)"), range: [-0.03, 1.03] },
    });
  }

  // ---- 4 clouds
  const cloud = () => {
    const c = cell();
    return c && (c.clouds.find((k) => k.attack === state.attack) || c.clouds[0]);
  };
  const clean = (sample) => D.clean[state.model][sample];  // label, pred, loss, confidence, log10 κ
  const attackOf = (p, i) => {
    const from = p.source[i] === state.model ? "" : ` (found on ${p.source[i] < 0 ? "another model" : D.models[p.source[i]]})`;
    return `${p.attack[i] < 0 ? "an attack" : D.attacks[p.attack[i]]}${from}`;
  };
  function drawClouds() {
    const k = cloud();
    if (!k || !k.points.row.length) {
      empty("fig-kappa", "No point to show.");
      return empty("fig-confidence", "No point to show.");
    }
    const p = k.points, names = [];
    const sets = OUTCOMES.map((outcome, o) => {
      const at = [...p.row.keys()].filter((i) => p.outcome[i] === o);
      names.push(`${outcome} (${share(k.outcomes[o] / k.n)} of ${k.n})`);
      return at;
    });
    const hover = (i) => {
      const c = clean(p.sample[i]);
      return `sample ${p.sample[i]}: class ${c[0]}, predicted ${c[1]} clean, ${p.pred[i]} attacked<br>${esc(attackOf(p, i))}<br>Δℓ ${number(p.change[i])} nats, max p ${number(p.confidence[i])}<br>κ ${power(c[4])} → ${power(p.kappa[i])} nats`;
    };
    const traces = (xs, ys) => sets.map((at, o) => ({
      type: "scatter", mode: "markers", name: names[o], x: at.map(xs), y: at.map(ys), customdata: at, text: at.map(hover),
      hovertemplate: "%{text}<extra></extra>", marker: { color: tone(D.colours.outcomes[OUTCOMES[o]]), symbol: SYMBOLS[o], size: 7, opacity: 0.7 },
    })).filter((t) => t.x.length);
    const before = p.row.map((_, i) => clean(p.sample[i])[4]);
    const finite = [...before, ...p.kappa].filter(positive);
    const low = Math.min(...finite), high = Math.max(...finite);
    const diagonal = { type: "line", x0: low, y0: low, x1: high, y1: high, line: { color: GREY, dash: "dash", width: 1 }, layer: "below" };
    draw("fig-kappa", traces((i) => before[i], (i) => p.kappa[i]), {
      xaxis: powers("κ at the clean point (nats)", before), yaxis: powers("κ at the adversarial point (nats)", p.kappa), shapes: finite.length ? [diagonal] : [],
    });
    draw("fig-confidence", traces((i) => p.kappa[i], (i) => p.confidence[i]), {
      xaxis: powers("κ at the adversarial point (nats)", p.kappa), yaxis: { title: title("confidence max p, adversarial") },
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
    return [["attack", attackOf(p, i)], ["true label", c[0]], ["predicted", `${c[1]} clean, ${p.pred[i]} attacked (${OUTCOMES[p.outcome[i]]})`],
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
  // a name in lines of at most so many characters, broken after commas; a longer piece has a line of its own
  const lines = (name, most) => name.split(/(?<=, )|(?<=[(])/).reduce((done, piece) => {
    if (done.length && (done.at(-1) + piece).trimEnd().length <= most) done.push(done.pop() + piece);
    else done.push(piece);
    return done;
  }, []);
  function drawBoxes() {
    const c = cell();
    const boxes = c ? c.boxes.filter((b) => b.change) : [];
    if (!boxes.length) return empty("fig-boxes", "No attack gave a point here.");
    const pieces = boxes.map((b) => lines(D.attacks[b.attack], narrow() ? 22 : 46));
    const names = pieces.map((lines) => lines.map(esc).join("<br>"));
    const height = boxes.length * Math.max(30, 15 * Math.max(...pieces.map((lines) => lines.length)) + 4);
    const part = (key, axis) => {
      const has = boxes.map((b, i) => [b[key], names[i]]).filter(([q]) => q);
      const column = (i) => has.map(([q]) => q[i]);
      return { type: "box", orientation: "h", y: has.map(([, n]) => n), lowerfence: column(0), q1: column(1), median: column(2), q3: column(3), upperfence: column(4), xaxis: axis, yaxis: axis.replace("x", "y"), showlegend: false, line: { color: axis === "x" ? tone(BLUE) : RED }, boxpoints: false };
    };
    $("fig-boxes").style.height = `${(narrow() ? 2 : 1) * (110 + height)}px`;
    const shared = { autorange: "reversed", type: "category", dtick: 1, tickfont: { size: narrow() ? 10 : 12 } };
    return draw("fig-boxes", [part("change", "x"), part("ratio", "x2")], {
      grid: narrow() ? { rows: 2, columns: 1, pattern: "independent", ygap: 0.3 } : { rows: 1, columns: 2, pattern: "independent", xgap: 0.05 },
      xaxis: { title: title("loss change Δℓ (nats)") }, xaxis2: powers("κ adversarial over κ clean", boxes.flatMap((b) => b.ratio || []), narrow() ? 3 : 6),
      yaxis: shared, yaxis2: narrow() ? shared : { ...shared, showticklabels: false },
    });
  }

  // ---- 6 samples
  const KINDS = { loss: "Largest loss increase", flat: "Flattest misclassified points", fragile: "Most fragile: nearest misclassified points" };
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
        card.append(el("p", `Sample ${p.sample[i]}: class ${k[0]}, ${p.pred[i] === k[0] ? "still correct" : `taken for class ${p.pred[i]}`}. Δℓ ${number(p.change[i])} nats, κ ${power(k[4])} → ${power(p.kappa[i])} nats, ${sign(state.norm)} distance ${radius(p.distance[i])}.`), el("p", attackOf(p, i), { class: "dim" }));
        cards.append(card);
      });
      box.append(cards);
    }
  }

  // ---- everything
  const valley = Valley(state), table = AttackTable(state);
  const parts = [drawSurface, drawSlice, drawCurve, table.draw, drawClouds, drawBoxes, drawGallery, ...valley.parts];
  const drawAll = () => parts.forEach((part) => part());
  function choices() {
    const norms = [...new Set(D.cells.filter((c) => c.model === state.model).map((c) => c.norm))];
    if (!norms.includes(state.norm)) state.norm = norms[0];
    const deltas = radii();
    if (!deltas.includes(state.delta)) state.delta = deltas[Math.floor((deltas.length - 1) / 2)];
    fill($("norm"), norms.map((n) => [n, sign(n)]), state.norm);
    fill($("delta"), deltas.map((d) => [d, radius(d) === number(d, 4) ? radius(d) : `${radius(d)} (${number(d, 4)})`]), state.delta);
    const c = cell();
    const attacks = c ? c.clouds.map((k) => k.attack) : [-1];
    if (!attacks.includes(state.attack)) state.attack = -1;
    fill($("attack"), attacks.map((a) => [a, a < 0 ? "worst of all" : D.attacks[a]]), state.attack);
  }
  const choosing = () => {
    choices();
    valley.choose();
    $("shown").textContent = `Figures show ${model()}, ${sign(state.norm)}, δ = ${radius(state.delta)} unless they say otherwise.`;
  };
  fill($("model"), D.models.map((m, i) => [i, m]), 0);
  const change = (id, key, read) => $(id).addEventListener("change", () => { state[key] = read($(id).value); choosing(); drawAll(); });
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
    const next = THEMES[(THEMES.indexOf(root.dataset.theme || "") + 1) % 3];
    if (next) root.dataset.theme = next; else delete root.dataset.theme;
    $("theme").textContent = `Theme: ${next || "automatic"}`;
    drawAll();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  const fit = () => [...document.querySelectorAll(".figure")].filter((f) => f.offsetParent).forEach((f) => Plotly.Plots.resize(f));
  let was = narrow();
  addEventListener("resize", () => { if (narrow() !== was) { was = narrow(); drawAll(); fit(); } });
  // on paper figures have a width of their own, since the window's says nothing there (see .printing in report.css)
  let own;
  addEventListener("beforeprint", () => { own = root.dataset.theme; root.dataset.theme = "light"; root.classList.add("printing"); drawAll(); });
  addEventListener("afterprint", () => { root.classList.remove("printing"); if (own) root.dataset.theme = own; else delete root.dataset.theme; drawAll(); fit(); });
  table.make();
  choosing();
  drawAll();
  root.dataset.ready = "1";
})();
