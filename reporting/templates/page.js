"use strict";
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const all = (what, where = document) => [...where.querySelectorAll(what)];

  // Tables sort by a press on a heading: numbers as numbers, what is none last.
  const value = (row, n) => {
    const text = row.cells[n].textContent.trim();
    const found = text.replace(/−/g, "-").match(/^[×±<>+\s]*(-?\d[\d.]*(?:e[+-]?\d+)?)/i);
    return found ? Number(found[1]) : text;
  };
  const compare = (a, b) => {
    if (typeof a === "number" && typeof b === "number") return a - b;
    if (typeof a === "number") return -1;
    if (typeof b === "number") return 1;
    return a.localeCompare(b);
  };
  for (const table of all(".wide table")) {
    const body = table.tBodies[0];
    if (!table.tHead || body.rows.length < 2) continue;
    all("th", table.tHead).forEach((head, n) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        all("th", table.tHead).forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const rows = [...body.rows].sort((a, b) => compare(value(a, n), value(b, n)));
        body.append(...(down ? rows.reverse() : rows));
      });
    });
  }

  // A link to a run opens its facts.
  const openRun = () => {
    const row = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const facts = row && row.querySelector("details");
    if (facts) facts.open = true;
  };
  window.addEventListener("hashchange", openRun);
  window.showRun = (run) => { location.hash = "run-" + encodeURIComponent(run); };
  openRun();

  const state = document.getElementById("numbers");
  if (!state || !window.Bokeh) return;
  const data = read("numbers"), items = read("panels");
  const place = document.getElementById("curves-of-all");
  const choose = { panel: place.querySelector("[name=architecture]"), noise: place.querySelector("[name=noise]"),
    policy: place.querySelector("[name=batchnorm]"), strength: place.querySelector("[name=strength]") };
  const said = document.getElementById("read-off");
  const panels = [];

  const fill = (n) => {
    const { doc, figure } = panels[n];
    const family = choose.noise.value;
    const sweep = data.panels[n][family + "|" + choose.policy.value];
    const box = document.getElementById("panel-" + n);
    box.querySelector(".none").hidden = Boolean(sweep);
    box.querySelector(".plot").style.display = sweep ? "" : "none";
    if (!sweep) return;
    const axis = figure.below[0];
    axis.ticker.ticks = sweep.ticks.map(([at]) => at);
    axis.major_label_overrides = new Map(sweep.ticks.map(([at, text]) => [at, text]));
    axis.axis_label = family === "gaussian" ? "noise strength α" : "strength of " + family;
    for (const span of figure.renderers) {
      if (span.name === "chance") span.location = sweep.chance;
      if (span.name === "knee") { span.visible = sweep.knee !== null; span.location = sweep.knee ?? 0; }
    }
    data.regimes[n].forEach((regime, k) => {
      const curve = sweep.curves[k], number = (v) => (v === null ? NaN : v);
      const count = curve.x.length, gap = count > 1 && curve.strength[0] === "0";
      const broken = (list, blank) => (gap ? [list[0], blank, ...list.slice(1)] : [...list]);
      const mean = curve.mean.map(number);
      const interval = curve.mean.map((m, i) => curve.low[i] === null ? "one seed, no interval" :
        "[" + curve.low[i].toFixed(4) + ", " + curve.high[i].toFixed(4) + "]");
      const low = curve.low.map((v, i) => v ?? mean[i]), high = curve.high.map((v, i) => v ?? mean[i]);
      doc.get_model_by_name("mean-" + k).data = {
        x: broken(curve.x, NaN), mean: broken(mean, NaN), low: broken(low, NaN), high: broken(high, NaN),
        interval: broken(interval, ""), n: broken(curve.n, 0), draws: broken(curve.draws, ""),
        strength: broken(curve.strength, ""), regime: broken(curve.x.map(() => regime), "") };
      const dots = curve.seeds;
      doc.get_model_by_name("seeds-" + k).data = { ...dots, y: dots.y.map(number),
        regime: dots.x.map(() => regime) };
    });
  };

  const shown = () => all("[name=regime]:checked", place).map((box) => box.value);

  // The same as by the pointer, by keyboard and for those who listen: values at one strength.
  const readOff = () => {
    const key = choose.noise.value + "|" + choose.policy.value;
    const steps = data.strengths[choose.noise.value] || [];
    const at = steps[Math.min(choose.strength.value, steps.length - 1)];
    choose.strength.setAttribute("aria-valuetext", String(at));
    const wanted = shown(), parts = [];
    data.panels.forEach((sweeps, n) => {
      const sweep = sweeps[key];
      for (const span of panels[n].figure.renderers) if (span.name === "reader") span.visible = false;
      if (!sweep || (choose.panel.value !== "" && Number(choose.panel.value) !== n)) return;
      const cells = [];
      data.regimes[n].forEach((regime, k) => {
        const curve = sweep.curves[k], i = curve.strength.indexOf(at);
        if (i < 0 || !wanted.includes(regime)) return;
        const mean = curve.mean[i], half = curve.high[i] === null ? "" : " ± " + (curve.high[i] - mean).toFixed(4);
        cells.push(regime + " " + mean.toFixed(4) + half + " (n = " + curve.n[i] + ")");
        for (const span of panels[n].figure.renderers)
          if (span.name === "reader") { span.location = curve.x[i]; span.visible = true; }
      });
      if (cells.length) parts.push(data.names[n] + ": " + cells.join(", "));
    });
    said.classList.remove("idle");
    said.textContent = "At " + at + " · " + (parts.join(" · ") || "not measured");
  };

  const show = () => {
    const family = choose.noise.value;
    for (const option of choose.policy.options)
      option.disabled = !(data.policies[family] || []).includes(option.value);
    if (choose.policy.selectedOptions[0].disabled)
      choose.policy.value = data.policies[family][0];
    choose.strength.max = (data.strengths[family] || []).length - 1;
    const wanted = shown(), one = choose.panel.value;
    place.querySelector(".panels").classList.toggle("alone", one !== "");
    panels.forEach(({ figure, box }, n) => {
      box.hidden = one !== "" && Number(one) !== n;
      fill(n);
      figure.height = innerWidth < 600 ? 200 : one === "" ? 250 : 380;
      for (const glyph of figure.renderers) {
        const k = /^regime-(\d+)$/.exec(glyph.name || "");
        if (k) glyph.visible = wanted.includes(data.regimes[n][Number(k[1])]);
      }
    });
    const meaning = document.getElementById("meaning");
    meaning.hidden = family === "gaussian";
    meaning.textContent = meaning.hidden ? "" : "Strength 1 of " + family + ": " + data.meanings[family] + ".";
  };

  const start = async () => {
    document.documentElement.classList.add("live");
    for (const [n, item] of items.entries()) {
      const views = await Bokeh.embed.embed_item(item);
      const figure = [...views][0] ? [...views][0].model : views.roots[0].model;
      panels.push({ figure, doc: figure.document, box: document.getElementById("panel-" + n) });
    }
    show();
    place.addEventListener("change", () => {
      show();
      if (!choose.strength.dataset.idle) readOff();
    });
    choose.strength.addEventListener("input", () => {
      delete choose.strength.dataset.idle;
      readOff();
    });
    place.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
    place.dataset.ready = "yes";
  };
  start().catch((error) => {
    document.documentElement.classList.remove("live");
    console.error(error);
  });
})();
