// The map: points on a canvas, moved and zoomed by pointer, wheel, touch and keys.
"use strict";

(async () => {
  const map = document.querySelector("[data-map]");
  if (!map) return;
  const canvas = map.querySelector("canvas"), tip = map.querySelector(".tip"), paint = canvas.getContext("2d");
  const said = document.getElementById("mapsaid"), list = document.getElementById("maplist");
  const find = document.getElementById("mapfind");
  said.textContent = "Loading the map …";
  const answer = await fetch(map.dataset.map);
  if (answer.status === 202) return location.reload();
  if (!answer.ok) {
    said.textContent = "The map could not be loaded; reload the page.";
    return;
  }
  const world = await answer.json();
  const items = world.items, tags = world.tags, n = items.id.length;
  const names = items.id.map((id, i) => items.name[i] || id);
  const searched = names.map((name, i) => `${name} ${items.id[i]}`.toLowerCase());
  const version = map.dataset.version;

  // A view: the middle in the map's units (0 to 10,000) and pixels a unit.
  let width = 1, height = 1, dots = 1, view = { x: 5000, y: 5000, scale: 0.05 };
  let lit = null, hue = null, query = "", hovered = null, colours = [], ink = "", soft = "", paper = "", accent = "";

  // --- Looks ---------------------------------------------------------------------------------

  function looks() {
    const root = getComputedStyle(document.documentElement);
    [ink, soft, paper, accent] = ["--ink", "--soft", "--sheet", "--accent"].map((name) => root.getPropertyValue(name).trim());
    colours = [];
    for (let h = 0; h <= world.other; h++) {
      const probe = document.createElement("span");
      probe.className = `swatch h${h}`;
      probe.hidden = false;
      map.append(probe);
      colours.push(getComputedStyle(probe).backgroundColor);
      probe.remove();
    }
    draw();
  }

  function size() {
    const box = canvas.getBoundingClientRect(), first = width === 1;
    dots = devicePixelRatio || 1;
    width = box.width;
    height = box.height;
    canvas.width = Math.round(width * dots);
    canvas.height = Math.round(height * dots);
    if (first) all();
    else draw();
  }

  function all() {
    view = { x: 5000, y: 5000, scale: 0.94 * Math.min(width, height) / 10000 };
    // The square fills the height of a wide stage; its points seldom fill the square.
    draw();
  }

  // --- Drawing -------------------------------------------------------------------------------

  let asked = false;
  function draw() {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      frame();
    });
  }

  const left = (x) => (x - view.x) * view.scale + width / 2;
  const top = (y) => (y - view.y) * view.scale + height / 2;

  function radius(i) {
    const zoom = Math.sqrt(view.scale / 0.06);
    return Math.min(9, (1.1 + 0.65 * Math.log10(1 + items.n[i])) * Math.max(0.9, zoom));
  }

  function frame() {
    paint.setTransform(dots, 0, 0, dots, 0, 0);
    paint.clearRect(0, 0, width, height);
    const shown = (i) => (lit ? lit.has(i) : hue === null || items.h[i] === hue);
    const dim = lit !== null || hue !== null;
    // One path a colour: a few fills a frame, whatever the number of points.
    for (const bright of dim ? [false, true] : [true]) {
      paint.globalAlpha = bright ? 0.82 : 0.13;
      for (let h = world.other; h >= 0; h--) {
        paint.fillStyle = colours[h];
        paint.beginPath();
        for (let i = n - 1; i >= 0; i--) {
          if (items.h[i] !== h || shown(i) !== bright) continue;
          const x = left(items.x[i]), y = top(items.y[i]);
          if (x < -9 || y < -9 || x > width + 9 || y > height + 9) continue;
          const r = radius(i) + (lit && bright ? 1.5 : 0);
          paint.moveTo(x + r, y);
          paint.arc(x, y, r, 0, 7);
        }
        paint.fill();
      }
    }
    paint.globalAlpha = 1;
    labels();
    if (hovered) ring(hovered);
  }

  function ring(point) {
    const x = left(point.x), y = top(point.y);
    paint.strokeStyle = accent;
    paint.lineWidth = 2;
    paint.beginPath();
    paint.arc(x, y, point.kind === "item" ? radius(point.i) + 3 : 7, 0, 7);
    paint.stroke();
  }

  let placed = [];
  function labels() {
    placed = [];
    const deep = view.scale / 0.06, most = Math.min(70, width * height / 36000 + 8 * deep);
    const font = getComputedStyle(document.body).fontFamily;
    const free = (box) => placed.every((o) => box.x > o.x + o.w || box.x + box.w < o.x || box.y > o.y + o.h || box.y + box.h < o.y);
    function label(kind, i, text, x, y, px, weight, colour) {
      if (x < 0 || y < 0 || x > width || y > height) return;
      paint.font = `${weight} ${px}px ${font}`;
      const cut = text.length > 26 ? `${text.slice(0, 25)}…` : text, w = paint.measureText(cut).width;
      const box = { x: x - w / 2 - 4, y: y - px / 2 - 3, w: w + 8, h: px + 6, kind, i };
      if (!free(box)) return;
      placed.push(box);
      paint.lineWidth = 4;
      paint.lineJoin = "round";
      paint.strokeStyle = paper;
      paint.fillStyle = colour;
      paint.strokeText(cut, x, y);
      paint.fillText(cut, x, y);
    }
    paint.textAlign = "center";
    paint.textBaseline = "middle";
    if (lit && lit.size <= 60) for (const i of lit) label("item", i, short(names[i]), left(items.x[i]), top(items.y[i]) - radius(i) - 10, 12, 600, ink);
    for (let t = 0; t < tags.id.length && placed.length < most; t++) label("tag", t, tags.name[t], left(tags.x[t]), top(tags.y[t]), t < 12 ? 14 : 12, 500, lit || hue !== null ? soft : ink);
    if (deep > 5) {
      for (let i = 0, drawn = 0; i < n && drawn < 60; i++) {
        const x = left(items.x[i]), y = top(items.y[i]);
        if (x < 0 || y < 0 || x > width || y > height) continue;
        label("item", i, short(names[i]), x, y - radius(i) - 8, 11, 400, soft);
        drawn++;
      }
    }
  }

  const short = (name) => name.split(" — ")[0];

  // --- What is under the pointer -------------------------------------------------------------

  const cells = new Map(), CELL = 100;
  for (let i = 0; i < n; i++) {
    const key = Math.floor(items.x[i] / CELL) * 1000 + Math.floor(items.y[i] / CELL);
    if (!cells.has(key)) cells.set(key, []);
    cells.get(key).push(i);
  }

  function under(px, py) {
    const box = placed.find((o) => o.kind === "tag" && px >= o.x && px <= o.x + o.w && py >= o.y && py <= o.y + o.h);
    if (box) return { kind: "tag", i: box.i, x: tags.x[box.i], y: tags.y[box.i] };
    const x = (px - width / 2) / view.scale + view.x, y = (py - height / 2) / view.scale + view.y;
    const reach = 10 / view.scale, steps = Math.min(8, Math.ceil(reach / CELL));
    let best = null, least = reach * reach;
    for (let a = -steps; a <= steps; a++) {
      for (let b = -steps; b <= steps; b++) {
        for (const i of cells.get((Math.floor(x / CELL) + a) * 1000 + Math.floor(y / CELL) + b) || []) {
          const away = (items.x[i] - x) ** 2 + (items.y[i] - y) ** 2;
          if (away < least) [best, least] = [i, away];
        }
      }
    }
    return best === null ? null : { kind: "item", i: best, x: items.x[best], y: items.y[best] };
  }

  function hover(point) {
    const same = point && hovered && point.kind === hovered.kind && point.i === hovered.i;
    hovered = point;
    canvas.classList.toggle("over", Boolean(point));
    tip.hidden = !point;
    if (!point) return draw();
    if (!same) {
      const small = document.createElement("small"), bold = document.createElement("bdi");
      bold.textContent = point.kind === "item" ? names[point.i] : tags.name[point.i];
      small.textContent = point.kind === "item"
        ? [world.hues[items.h[point.i]], `${items.n[point.i].toLocaleString("en")} likes`].filter(Boolean).join(", ")
        : `tag, on ${tags.n[point.i].toLocaleString("en")} items`;
      tip.replaceChildren(bold, small);
    }
    const x = left(point.x), y = top(point.y), w = tip.offsetWidth, h = tip.offsetHeight;
    const at = [Math.max(6, Math.min(width - w - 6, x - w / 2)), y - h - 14 < 6 ? y + 14 : y - h - 14];
    tip.style.transform = `translate(${at[0]}px, ${at[1]}px)`;
    draw();
  }

  function hrefOf(point) {
    const base = point.kind === "item" ? world.item : world.tag;
    const id = point.kind === "item" ? items.id[point.i] : tags.id[point.i];
    return base + encodeURIComponent(id) + (version ? `&v=${encodeURIComponent(version)}` : "");
  }

  // --- Moving --------------------------------------------------------------------------------

  function zoom(factor, px = width / 2, py = height / 2) {
    const least = 0.4 * Math.min(width, height) / 10000, scale = Math.min(8, Math.max(least, view.scale * factor));
    const x = (px - width / 2) / view.scale + view.x, y = (py - height / 2) / view.scale + view.y;
    view = { x: x - (px - width / 2) / scale, y: y - (py - height / 2) / scale, scale };
    keep();
  }

  function shift(dx, dy) {
    view = { ...view, x: view.x - dx / view.scale, y: view.y - dy / view.scale };
    keep();
  }

  function keep() {
    view.x = Math.min(10000, Math.max(0, view.x));
    view.y = Math.min(10000, Math.max(0, view.y));
    draw();
  }

  const fingers = new Map();
  let travelled = 0;
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, [event.offsetX, event.offsetY]);
    if (fingers.size === 1) travelled = 0;
  });
  canvas.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId), now = [event.offsetX, event.offsetY];
    if (!before) return hover(under(...now));
    const others = [...fingers].filter(([id]) => id !== event.pointerId);
    if (others.length) {
      const other = others[0][1], apart = (p) => Math.hypot(p[0] - other[0], p[1] - other[1]) || 1;
      zoom(apart(now) / apart(before), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
      travelled = 99;
    } else {
      travelled += Math.hypot(now[0] - before[0], now[1] - before[1]);
      if (travelled > 4) canvas.classList.add("moving");
      shift(now[0] - before[0], now[1] - before[1]);
    }
    fingers.set(event.pointerId, now);
  });
  function release(event) {
    fingers.delete(event.pointerId);
    canvas.classList.remove("moving");
  }
  canvas.addEventListener("pointerup", (event) => {
    const held = fingers.has(event.pointerId);
    release(event);
    if (!held || travelled > 4) return;
    const point = under(event.offsetX, event.offsetY);
    // A finger has not hovered: the first touch names, the second opens.
    if (point && event.pointerType === "touch" && !(hovered && hovered.kind === point.kind && hovered.i === point.i)) hover(point);
    else if (point) location.assign(hrefOf(point));
    else hover(null);
  });
  canvas.addEventListener("pointercancel", release);
  canvas.addEventListener("pointerleave", () => { if (!fingers.size) hover(null); });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0016)), event.offsetX, event.offsetY);
  }, { passive: false });
  canvas.addEventListener("dblclick", (event) => zoom(2, event.offsetX, event.offsetY));
  canvas.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] };
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (moves[event.key]) shift(...moves[event.key]);
    else if (event.key === "+" || event.key === "=") zoom(1.4);
    else if (event.key === "-") zoom(1 / 1.4);
    else if (event.key === "0") all();
    else return;
    event.preventDefault();
  });
  for (const button of map.querySelectorAll("[data-zoom]")) {
    button.addEventListener("click", () => ({ in: () => zoom(1.6), out: () => zoom(1 / 1.6), all })[button.dataset.zoom]());
  }

  // --- Highlights ----------------------------------------------------------------------------

  function light() {
    const words = query.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = (i) => (hue === null || items.h[i] === hue) && words.every((word) => searched[i].includes(word));
    lit = words.length ? new Set() : null;
    if (lit) for (let i = 0; i < n; i++) if (wanted(i)) lit.add(i);
    const count = lit ? lit.size : hue === null ? n : items.h.reduce((sum, h) => sum + (h === hue), 0);
    const what = count === 1 ? "item" : "items";
    said.textContent = lit || hue !== null ? `${count.toLocaleString("en")} ${what} highlighted` : `${count.toLocaleString("en")} ${what}, ${tags.id.length.toLocaleString("en")} tags`;
    rows(lit ? [...lit] : hue === null ? [] : items.h.flatMap((h, i) => (h === hue ? [i] : [])));
    draw();
  }

  function rows(found) {
    const shown = found.slice(0, 40).map((i) => {
      const row = document.createElement("li"), link = document.createElement("a"), name = document.createElement("bdi");
      name.textContent = names[i];
      link.href = hrefOf({ kind: "item", i });
      link.append(name);
      link.addEventListener("focus", () => hover({ kind: "item", i, x: items.x[i], y: items.y[i] }));
      link.addEventListener("blur", () => hover(null));
      row.append(link);
      return row;
    });
    if (found.length > 40) shown.push(quietly(`and ${(found.length - 40).toLocaleString("en")} more`));
    if (!found.length) shown.push(quietly(query ? "Nothing on the map has that in its name." : "Type a name above, or choose a colour."));
    list.replaceChildren(...shown);
  }

  function quietly(text) {
    const row = document.createElement("li");
    row.className = "quiet";
    row.textContent = text;
    return row;
  }

  function remember() {
    const address = new URL(location.href);
    if (query) address.searchParams.set("q", query);
    else address.searchParams.delete("q");
    history.replaceState(null, "", address);
  }

  let waiting = 0;
  find.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      query = find.value.trim();
      remember();
      light();
    }, 120);
  });
  for (const button of map.querySelectorAll("[data-hue]")) {
    button.addEventListener("click", () => {
      const own = Number(button.dataset.hue);
      hue = hue === own ? null : own;
      for (const other of map.querySelectorAll("[data-hue]")) other.setAttribute("aria-pressed", String(Number(other.dataset.hue) === hue));
      light();
    });
  }

  query = find.value.trim();
  new ResizeObserver(size).observe(canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", looks);
  size();
  looks();
  light();
  if (lit && lit.size === 1) {
    const [i] = lit;
    view = { x: items.x[i], y: items.y[i], scale: view.scale * 4 };
    draw();
  }
  map.dataset.ready = String(n);
})();
