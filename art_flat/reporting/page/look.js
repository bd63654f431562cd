"use strict";
// What every part of the page shares: the data, numbers as text, elements, colours and the way a figure is drawn.
const Look = (() => {
  const D = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const CYCLE = D.colours.cycle;
  const GREY = D.colours.grey;
  const SYMBOLS = ["circle", "triangle-up", "diamond", "x"];
  const HUGE = 1e299;
  const MODEBAR = 36;  // pixels above a figure that its buttons need

  // ---- text; what Plotly shows is read as a small HTML, so names are escaped for it; the page itself uses textContent
  const esc = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const sign = (norm) => D.signs[norm] || norm;
  const number = (v, digits = 3) =>
    v === null || v === undefined ? "–" : Math.abs(v) > HUGE ? (v > 0 ? "∞" : "−∞") : String(Number(v.toPrecision(digits)));
  const median = (v, digits) => (v > HUGE ? "– (over half unbroken)" : number(v, digits));
  const share = (v) => {  // as percent in formatting.py, which rounds ties to even
    if (v === null || v === undefined) return "–";
    const p = 100 * v, tie = Number.isInteger(4 * p) && !Number.isInteger(2 * p);
    return `${(tie ? Math.round(5 * p) / 5 : p).toFixed(1)} %`;
  };
  const positive = (v) => v !== null && v !== D.zero;  // of a base-10 logarithm; zero stands for κ = 0
  const power = (v) => (v === null ? "–" : v === D.zero ? "0" : v > -6 && v < 6 ? number(10 ** v) : `10^${v.toFixed(1)}`);
  const radius = (v) => {  // as radius_text in _look.py
    const text = number(v, 4), steps = 255 * v, whole = Math.round(steps);
    return Number(text) !== v && Math.abs(steps - whole) < 1e-5 && whole >= 1 && whole <= 255 ? `${whole}/255` : text;
  };

  const counted = (n, noun) => `${n} ${noun}${n === 1 ? "" : "s"}`;

  // ---- elements
  const el = (tag, text, attributes = {}) => {
    const node = document.createElement(tag);
    if (text !== undefined) node.textContent = text;
    for (const [k, v] of Object.entries(attributes)) node.setAttribute(k, v);
    return node;
  };
  // a long name may be broken after a comma or the opening bracket, and nowhere else
  const breakable = (text) => String(text).split(/(?<=,)(?=\S)|(?<=\w\()(?=\S)/).flatMap((piece, i) => (i ? [document.createElement("wbr"), piece] : [piece]));
  const fill = (select, options, chosen) => {
    select.replaceChildren(...options.map(([value, text]) => el("option", text, { value })));
    if (chosen !== undefined) select.value = String(chosen);
  };

  // ---- figures
  const root = document.documentElement;
  const printing = () => root.classList.contains("printing");
  const narrow = () => !printing() && root.clientWidth <= 620;
  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const dark = () => colour("--scheme") === "dark";
  const tone = (c) => (c === D.colours.blue && dark() ? "#4da3dc" : c);  // the palette's blue is too dim on black
  const broken = (text) => (narrow() && text.length > 25 ? text.replace(/ (\(L2|over)/, "<br>$1") : text);
  const title = (text) => ({ text: broken(text), font: { size: narrow() ? 12 : 13 } });
  // an axis of exponents, since κ reaches below what a logarithmic axis of Plotly shows
  const steps = [1, 2, 5, 10, 20, 50, 100, 200];
  const powers = (text, values, most = 6) => {
    const finite = values.filter(positive), low = Math.min(...finite), span = Math.max(...finite) - low;
    if (!(span < 2)) return { title: title(text), tickprefix: "10<sup>", ticksuffix: "</sup>", tick0: 0, dtick: steps.find((s) => span / s <= most) || 1 };
    const whole = [...Array(5).keys()].map((k) => k + Math.floor(low) - 1);
    const ticks = whole.flatMap((k) => (span < 0.7 ? [1, 1.5, 2, 3, 5, 7] : [1, 2, 5]).map((m) => m * 10 ** k));
    return { title: title(text), tickvals: ticks.map(Math.log10), ticktext: ticks.map((t) => power(Math.log10(t))) };
  };
  // ---- between radii, as in _steps.py: an attacked share bounds every larger radius, a certified one every smaller radius
  const stepLine = (deltas, shares, atZero, kind, look) => {
    const known = [...shares.keys()].filter((j) => shares[j] !== null);
    const line = { ...look.line, shape: kind === "certified" ? "vh" : "hv" };
    return { mode: "lines+markers", ...look, line, x: [0, ...known.map((j) => deltas[j])], y: [atZero, ...known.map((j) => shares[j])] };
  };
  const openArea = (deltas, attacked, certified, atZero) => {
    const x = [0, ...deltas], high = [atZero, ...attacked].slice(0, -1), low = [...certified];
    high.forEach((v, j) => { if (v === null) high[j] = high[j - 1]; });
    for (let j = low.length - 1; j >= 0; j--) if (low[j] === null) low[j] = j + 1 < low.length ? low[j + 1] : 0;
    const corners = (ends) => ends.flatMap((v, j) => [[x[j], v], [x[j + 1], v]]);
    const around = [...corners(high), ...corners(low).reverse()];
    return { x: around.map((p) => p[0]), y: around.map((p) => p[1]), name: "open", mode: "lines", line: { width: 0 }, fill: "toself", fillcolor: "rgba(138,143,152,0.22)", hoverinfo: "skip" };
  };
  const bracket = (deltas, attacked, certified, atZero, looks) => {
    const lines = attacked.some((v) => v !== null) ? [openArea(deltas, attacked, certified, atZero)] : [];
    if (certified.some((v) => v !== null)) lines.push(stepLine(deltas, certified, atZero, "certified", looks.certified));
    return [...lines, stepLine(deltas, attacked, atZero, "attacked", looks.attacked)];
  };
  const deltaTitle = (norm) => `radius δ (${sign(norm)}, ${norm === "L0" ? "pixels" : "clip units"})`;
  const draw = (id, traces, layout) => {
    const fg = colour("--fg"), line = colour("--line");
    const base = {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: "system-ui, -apple-system, Segoe UI, Roboto, sans-serif", size: 12, color: fg },
      margin: { l: 62, r: 16, t: MODEBAR, b: 52 }, hovermode: "closest",
      hoverlabel: { align: "left", bgcolor: colour("--soft"), bordercolor: line, font: { color: fg } },
      ...layout,
      legend: { orientation: "h", y: printing() ? -0.45 : narrow() ? -0.3 : -0.22, yanchor: "top", x: 0, font: { size: 11 }, ...layout.legend },
      ...(printing() ? { width: $(id).clientWidth, height: $(id).clientHeight } : {}),
    };
    for (const key of Object.keys(base)) {
      if (/^[xy]axis/.test(key)) {
        base[key] = { gridcolor: line, zerolinecolor: line, linecolor: line, automargin: true, ...base[key] };
      }
    }
    const config = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d", "zoomIn2d", "zoomOut2d"] };
    return Plotly.react(id, traces, base, config);
  };
  const empty = (id, text) => draw(id, [], {
    xaxis: { visible: false }, yaxis: { visible: false },
    annotations: [{ text, showarrow: false, x: 0.5, y: 0.5, xref: "paper", yref: "paper" }],
  });
  return { D, $, MODEBAR, breakable, CYCLE, GREY, SYMBOLS, esc, sign, number, median, share, positive, power, radius, counted, el, fill, root, narrow, colour, tone, title, powers, deltaTitle, stepLine, bracket, draw, empty };
})();
