"use strict";
// The section of the analyses: trajectories, scaling of the head, radial profiles.
const Valley = (state) => {
  const { D, $, CYCLE, SYMBOLS, esc, sign, number, share, power, radius, counted, fill, narrow, tone, title, powers, draw, empty } = Look;
  const A = D.analyses;
  const [BLUE, RED] = CYCLE;
  const LISTS = { trajectory: A.trajectories, sweep: A.sweeps };
  const QUANTITIES = { loss: "loss ℓ (nats)", log_kappa: "κ (nats)", confidence: "confidence max p", curvature: "curvature (nats per squared clip unit)" };
  const model = () => D.models[state.model];
  const named = (a) => `${a.attack}, ${sign(a.norm)}${a.delta === null ? "" : `, δ = ${radius(a.delta)}`}`;
  const band = (x, rows, axis, tint, name, legend, say) => [
    { x: [...x, ...[...x].reverse()], y: [...rows[2], ...[...rows[0]].reverse()], fill: "toself", fillcolor: `${tint}38`, line: { width: 0 }, mode: "lines", hoverinfo: "skip", legendgroup: name, showlegend: false },
    { x, y: rows[1], mode: "lines", line: { color: tint, width: 2 }, name: `${name}, median and 10 to 90 %`, legendgroup: name, showlegend: legend, text: rows[1].map((v) => say(v)), hovertemplate: "%{x}: %{text}<extra></extra>" },
  ].map((t) => ({ type: "scatter", ...axis, ...t }));

  function drawTrajectory() {
    const t = A.trajectories[$("trajectory").value];
    if (!t) return;
    const flip = $("from-flip").checked, way = flip ? t.flip : t.start;
    $("trajectory-note").textContent = `${share(t.success)} of ${t.samples} clean-correct samples made wrong; ${share(t.uncanny)} of ${t.samples} end in the valley. Dashed: the flip${flip ? "" : ", in the median"}. A step is drawn while at least half of the samples have one.`;
    if (!way.step.length) return empty("fig-trajectory", "No sample flips.");
    const at = flip ? 0 : t.median_flip, blue = tone(BLUE);
    const axes = ["", "2", "3"];
    const traces = ["kappa", "loss", "confidence"].flatMap((q, i) => band(way.step, way[q], { xaxis: "x", yaxis: `y${axes[i]}` }, blue, "samples", i === 0, q === "kappa" ? power : number));
    const shapes = at === null ? [] : axes.map((i) => ({ type: "line", xref: "x", yref: `y${i} domain`, x0: at, x1: at, y0: 0, y1: 1, line: { color: RED, dash: "dash", width: 1.5 } }));
    return draw("fig-trajectory", traces, {
      xaxis: { title: title(flip ? "steps from the flip" : "step (forward passes of the sample)"), anchor: "y3" },
      yaxis: { ...powers("κ (nats)", way.kappa.flat(), 4), domain: [0.7, 1] }, yaxis2: { title: title("loss ℓ (nats)"), domain: [0.36, 0.64] }, yaxis3: { title: title("confidence max p"), domain: [0, 0.3] },
      shapes, legend: { y: narrow() ? -0.12 : -0.11 },
    });
  }
  function drawSweep() {
    const s = A.sweeps[$("sweep").value];
    if (!s) return;
    const shares = Object.entries(s.shares).map(([label, y], i) => ({ type: "scatter", mode: "lines+markers", x: s.scale, y, name: esc(label), line: { color: tone(CYCLE[i]) }, marker: { symbol: SYMBOLS[i] }, hovertemplate: `${esc(label)}<br>s = %{x}: %{y:.1%}<extra></extra>` }));
    const kappas = [["clean", tone(BLUE), "κ at clean points"], ["adv", RED, "κ at adversarial points"]].flatMap(([k, tint, name]) => band(s.scale, s.kappa[k], { xaxis: "x2", yaxis: "y2" }, tint, name, true, power));
    const x = { type: "log", title: title("scale s of the head"), tickvals: s.scale, tickangle: -45 };
    return draw("fig-sweep", [...shares, ...kappas], {
      grid: narrow() ? { rows: 2, columns: 1, pattern: "independent", ygap: 0.4 } : { rows: 1, columns: 2, pattern: "independent", xgap: 0.14 },
      xaxis: x, xaxis2: x, yaxis: { title: title("share of samples"), range: [-0.03, 1.03] }, yaxis2: powers("κ (nats)", [...s.kappa.clean, ...s.kappa.adv].flat(), 5), legend: { y: narrow() ? -0.2 : -0.35 },
    });
  }
  function drawProfile() {
    const p = A.profiles.find((k) => k.model === model());
    if (!p) return;
    const q = $("profile").value, log = q === "log_kappa";
    $("profile-note").textContent = `Median over ${counted(p.samples, "sample")} along straight rays from each.`;
    const traces = Object.entries(p.rays).map(([direction, ray], i) => ({
      type: "scatter", mode: "lines", name: esc(direction), x: ray.radius, y: ray[q],
      line: { color: tone(CYCLE[i]), dash: ["solid", "dash", "dot", "dashdot"][i % 4], width: 2 }, text: ray[q].map((v) => (log ? power(v) : number(v))), hovertemplate: "%{x:.3g}: %{text}",
    }));
    const text = `${QUANTITIES[q]}, median`;
    return draw("fig-profile", traces, { xaxis: { title: title("distance from the sample (L2, clip units)") }, yaxis: log ? powers(text, traces.flatMap((t) => t.y)) : { title: title(text) }, legend: { y: narrow() ? -0.42 : -0.22 } });
  }
  // the chosen model's analyses; at first those of the chosen norm and radius
  function choose() {
    const mine = (list) => [...list.keys()].filter((i) => list[i].model === model());
    for (const [id, list] of Object.entries(LISTS)) {
      const places = mine(list), same = (i) => list[i].norm === state.norm && Math.abs(list[i].delta - state.delta) <= 1e-6 * state.delta;
      $(`block-${id}`).hidden = !places.length;
      fill($(id), places.map((i) => [i, named(list[i])]), places.find(same) ?? places[0]);
    }
    $("block-profile").hidden = !mine(A.profiles).length;
    const any = A.trajectories.length || A.sweeps.length || A.profiles.length;
    $("valley-none").hidden = Boolean(any);
    $("valley-other").hidden = !any || [...Object.values(LISTS), A.profiles].some((list) => mine(list).length);
  }
  fill($("profile"), Object.entries(QUANTITIES));
  $("trajectory").addEventListener("change", drawTrajectory);
  $("from-flip").addEventListener("change", drawTrajectory);
  $("sweep").addEventListener("change", drawSweep);
  $("profile").addEventListener("change", drawProfile);
  return { choose, parts: [drawTrajectory, drawSweep, drawProfile] };
};
