"use strict";
// Draws the curves of the page's data, looks classes up, and asks for newer pages where the page is watched.
(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const HEIGHT = 230, LEFT = 58, RIGHT = 14, TOP = 10, BOTTOM = 36;
  const AXES = { epoch: "epoch", step: "step", hours: "hours of training" };
  const MARKED = 60; // the most points of a curve that are marked
  let data = JSON.parse(document.getElementById("report-data").textContent);

  function svg(name, attributes, text) {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    return element;
  }

  function element(name, text, ...classes) {
    const made = document.createElement(name);
    made.textContent = text;
    made.classList.add(...classes);
    return made;
  }

  const known = (value) => typeof value === "number" && Number.isFinite(value);

  function written(value) {
    if (!known(value)) return "not a number";
    const size = Math.abs(value);
    if (size !== 0 && (size < 1e-3 || size >= 1e6)) return value.toExponential(2);
    return value.toLocaleString("en", { maximumSignificantDigits: size >= 1000 ? 6 : 4 });
  }

  // What the reader has chosen.
  function chosen() {
    const form = document.getElementById("controls");
    const boxes = [...form.querySelectorAll("input[name=run]")];
    return {
      axis: form.querySelector("input[name=axis]:checked").value,
      log: form.querySelector("input[name=log]").checked,
      smoothing: Number(form.querySelector("input[name=smoothing]").value),
      shown: (run) => boxes.length === 0 || boxes[run].checked,
    };
  }

  // A moving average that begins at the first value; what is no number stays a gap.
  function smoothed(values, weight) {
    let sum = 0, weights = 0;
    return values.map((value) => {
      if (!known(value)) return null;
      sum = weight * sum + (1 - weight) * value;
      weights = weight * weights + (1 - weight);
      return sum / weights;
    });
  }

  function curves(chart, choice) {
    const found = [];
    data.runs.forEach((run, index) => {
      if (!choice.shown(index)) return;
      for (const line of chart.lines) {
        const columns = run[line.kind];
        if (!columns[line.value]) continue;
        const raw = columns[line.value].map((value) => (known(value) ? value * chart.factor : null));
        const smooth = line.smooth && choice.smoothing > 0;
        const ys = smooth ? smoothed(raw, choice.smoothing) : raw;
        found.push({ run, index, line, xs: columns[choice.axis], raw, ys, smooth });
      }
    });
    return found;
  }

  const least = (values) => values.reduce((a, b) => Math.min(a, b), Infinity);
  const most = (values) => values.reduce((a, b) => Math.max(a, b), -Infinity);

  function niceTicks(low, high, count) {
    const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough * 0.999);
    const ticks = [];
    for (let tick = Math.ceil(low / step - 1e-9); tick * step <= high + step * 1e-9; tick++) {
      ticks.push(Number((tick * step).toPrecision(12)));
    }
    return ticks;
  }

  function logTicks(low, high) {
    const decades = Math.log10(high / low);
    const digits = decades > 4 ? [1] : decades > 1.5 ? [1, 3] : [1, 2, 3, 5, 7];
    const ticks = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
      for (const digit of digits) {
        const tick = Number((digit * 10 ** power).toPrecision(3));
        if (tick >= low && tick <= high) ticks.push(tick);
      }
    }
    return ticks.length > 1 ? ticks : [low, high].map((each) => Number(each.toPrecision(2)));
  }

  // The vertical axis: its ends, its ticks, and the function from a value to its place between 0 and 1.
  function vertical(values, log) {
    const positive = values.filter((value) => value > 0);
    let low = least(positive), high = most(positive);
    if (log && high > 3 * low) {
      if (values.some((value) => value <= 0)) low /= 2; // what is 0 is drawn at the bottom
      low *= 0.93; high *= 1.07;
      return { ticks: logTicks(low, high), place: (y) => (y <= low ? 0 : Math.log(y / low) / Math.log(high / low)) };
    }
    low = least(values);
    high = most(values);
    if (low > 0 && low < high * 0.7) low = 0;
    if (low === high) { low = low > 0 ? 0 : low - 1; high = high * 1.1 || 1; }
    const space = 0.04 * (high - low);
    high += space;
    if (low !== 0) low -= space;
    return { ticks: niceTicks(low, high, 5), place: (y) => (y - low) / (high - low) };
  }

  const MARKS = [
    (x, y) => svg("circle", { cx: x, cy: y, r: 2.8 }),
    (x, y) => svg("rect", { x: x - 2.6, y: y - 2.6, width: 5.2, height: 5.2 }),
    (x, y) => svg("path", { d: `M${x} ${y - 3.6}L${x + 3.4} ${y + 2.6}H${x - 3.4}Z` }),
    (x, y) => svg("path", { d: `M${x} ${y - 3.8}L${x + 3.8} ${y}L${x} ${y + 3.8}L${x - 3.8} ${y}Z` }),
  ];

  function draw(figure) {
    const chart = data.charts.find((each) => each.name === figure.dataset.chart);
    const plot = figure.querySelector(".plot"), readout = figure.querySelector(".readout");
    if (!chart) return;
    const choice = chosen(), found = curves(chart, choice);
    const width = Math.max(plot.clientWidth, 240), inner = width - LEFT - RIGHT, tall = HEIGHT - TOP - BOTTOM;
    const values = found.flatMap((each) => [...each.raw, ...each.ys]).filter(known);
    const picture = svg("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, "aria-hidden": "true" });
    plot.replaceChildren(picture);
    readout.replaceChildren();
    if (!values.length) {
      picture.append(svg("text", { x: LEFT, y: HEIGHT / 2 }, "no run that is shown has such values"));
      return;
    }
    let first = Infinity, last = -Infinity;
    for (const each of found) for (const x of each.xs) { first = Math.min(first, x); last = Math.max(last, x); }
    if (choice.axis !== "hours" || first < 0.2 * last) first = Math.min(first, 0);
    if (first === last) last = first + 1;
    const axis = vertical(values, choice.log && chart.logarithmic);
    const atX = (x) => LEFT + (inner * (x - first)) / (last - first);
    const atY = (y) => TOP + tall * (1 - axis.place(y));

    for (const tick of axis.ticks) {
      picture.append(svg("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: atY(tick), y2: atY(tick) }));
      picture.append(svg("text", { x: LEFT - 6, y: atY(tick) + 4, "text-anchor": "end" }, written(tick)));
    }
    for (const tick of niceTicks(first, last, Math.max(4, Math.floor(inner / 70)))) {
      picture.append(svg("line", { class: "axis", x1: atX(tick), x2: atX(tick), y1: TOP + tall, y2: TOP + tall + 4 }));
      picture.append(svg("text", { x: atX(tick), y: TOP + tall + 17, "text-anchor": "middle" }, written(tick)));
    }
    picture.append(svg("line", { class: "axis", x1: LEFT, x2: width - RIGHT, y1: TOP + tall, y2: TOP + tall }));
    picture.append(svg("text", { x: width - RIGHT, y: HEIGHT - 3, "text-anchor": "end" }, AXES[choice.axis]));

    function path(each, ys, ...classes) {
      let route = "", pen = "M";
      ys.forEach((y, point) => {
        if (!known(y)) { pen = "M"; return; }
        route += `${pen}${atX(each.xs[point]).toFixed(1)} ${atY(y).toFixed(1)}`;
        pen = "L";
      });
      picture.append(svg("path", { d: route, class: ["line", `run${each.index % 8}`, ...classes].join(" ") }));
    }
    for (const each of found) {
      if (each.smooth) path(each, each.raw, "thin", "raw");
      path(each, each.ys, each.line.style);
      if (each.line.kind === "evaluation" && each.ys.length <= MARKED) {
        each.ys.forEach((y, point) => {
          if (!known(y)) return;
          const mark = MARKS[each.index % MARKS.length](atX(each.xs[point]), atY(y));
          mark.setAttribute("class", `mark run${each.index % 8}`);
          picture.append(mark);
        });
      }
    }

    // The values at one place, by pointer and by keys.
    const places = [...new Set(found.flatMap((each) => each.xs))].sort((a, b) => a - b);
    const cursor = svg("line", { class: "cursor", y1: TOP, y2: TOP + tall, visibility: "hidden" });
    picture.append(cursor);
    let place = -1;

    function read(to) {
      place = Math.min(Math.max(to, 0), places.length - 1);
      const x = places[place];
      cursor.setAttribute("x1", atX(x));
      cursor.setAttribute("x2", atX(x));
      cursor.setAttribute("visibility", "visible");
      const said = [element("span", `${AXES[choice.axis]} ${written(x)}:`)];
      for (const each of found) {
        let near = 0;
        each.xs.forEach((other, point) => {
          if (Math.abs(other - x) < Math.abs(each.xs[near] - x)) near = point;
        });
        if (!each.xs.length) continue;
        const name = data.runs.length > 1 ? `${each.run.label}, ${each.line.name}` : each.line.name;
        const value = known(each.ys[near]) ? `${written(each.ys[near])}${chart.unit}` : "not a number";
        const span = element("span", `${name} ${value}`);
        span.prepend(element("i", "", "key", `run${each.index % 8}`));
        said.push(span);
      }
      readout.replaceChildren(...said);
    }
    plot.onpointermove = plot.onpointerdown = (event) => {
      const box = picture.getBoundingClientRect();
      const x = first + ((event.clientX - box.left) * (width / box.width) - LEFT) * ((last - first) / inner);
      let near = 0;
      places.forEach((each, index) => {
        if (Math.abs(each - x) < Math.abs(places[near] - x)) near = index;
      });
      read(near);
    };
    plot.onkeydown = (event) => {
      const many = event.shiftKey ? Math.max(1, Math.round(places.length / 20)) : 1;
      const to = { ArrowLeft: place - many, ArrowRight: place + many, Home: 0, End: places.length - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      read(to);
    };
  }

  function drawAll() {
    document.querySelectorAll("figure.chart").forEach(draw);
  }

  // A class of many: what it is taken for, and what is taken for it.
  function lookUp(select) {
    const { names, images, pairs } = data.confused[select.dataset.lookUp], label = Number(select.value);
    const list = (title, found, of) => {
      const items = found.slice(0, 15).map((pair) => element("li", `${names[pair[of]]}: ${pair[2]}`));
      const whole = element("ul", "");
      whole.append(...items);
      return items.length ? [element("p", title), whole] : [element("p", `${title} nothing.`)];
    };
    document.getElementById(`${select.id}-found`).replaceChildren(
      ...list(`${names[label]}, ${images[label]} images, is taken for:`, pairs.filter((each) => each[0] === label), 1),
      ...list("What is taken for it:", pairs.filter((each) => each[1] === label), 0),
    );
  }

  function start() {
    if (document.getElementById("controls")) drawAll();
    document.querySelectorAll("select[data-look-up]").forEach(lookUp);
  }

  document.addEventListener("input", (event) => {
    if (event.target.matches("select[data-look-up]")) lookUp(event.target);
    const form = event.target.closest("#controls");
    if (!form) return;
    form.querySelector("output").textContent = form.querySelector("input[name=smoothing]").value;
    drawAll();
  });
  document.addEventListener("submit", (event) => event.preventDefault());
  let width = 0;
  new ResizeObserver(() => {
    if (document.body.clientWidth !== width) { width = document.body.clientWidth; start(); }
  }).observe(document.body);

  // A page that is watched takes what is new from its server, part by part, so that the reader's place is kept.
  function watch() {
    const state = element("span", "This page follows the training."), label = element("label", "");
    const box = document.createElement("input"), bar = element("div", "", "watching");
    box.type = "checkbox";
    box.checked = true;
    label.append(box, "follow");
    state.setAttribute("role", "status");
    bar.append(label, state);
    document.querySelector("header").after(bar);
    const timer = setInterval(async () => {
      if (!box.checked) return;
      try {
        const answer = await fetch(location.pathname);
        if (!answer.ok) throw new Error(answer.statusText);
        refresh(new DOMParser().parseFromString(await answer.text(), "text/html"));
      } catch {
        clearInterval(timer);
        box.disabled = true;
        state.textContent = "The server has ended; the page stays as it is.";
      }
    }, data.refresh * 1000);
  }

  function refresh(page) {
    const text = page.getElementById("report-data").textContent;
    if (text === document.getElementById("report-data").textContent && page.title === document.title) {
      if (page.getElementById("main").innerHTML === refresh.before) return;
    }
    refresh.before = page.getElementById("main").innerHTML;
    document.getElementById("report-data").textContent = text;
    data = JSON.parse(text);
    for (const part of page.querySelectorAll("main > section")) {
      const old = document.getElementById(part.id);
      const names = (root) => [...root.querySelectorAll("figure.chart")].map((each) => each.dataset.chart).join();
      // The curves are drawn anew where they are, with what the reader has chosen.
      const same = part.id === "curves" && names(old) === names(part);
      if (same) {
        const details = old.querySelector("details");
        details.querySelectorAll("table").forEach((table, index) => {
          table.replaceWith(part.querySelectorAll("details table")[index]);
        });
      } else if (!old.contains(document.activeElement)) {
        const open = [...old.querySelectorAll("details")].map((each) => each.open);
        old.replaceWith(part);
        part.querySelectorAll("details").forEach((each, index) => { each.open = open[index]; });
      }
    }
    start();
  }

  start();
  if (data.refresh) watch();
})();
