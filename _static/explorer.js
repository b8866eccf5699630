// Draws the figure before an explorer's controls anew whenever one of them changes.
// The data and their order are those of nbsrc/explorer.py.
const WIDTH = 336, HEIGHT = 280, LEFT = 58, RIGHT = 10, TOP = 26, BOTTOM = 42;

const element = (name, attributes, text) => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
};

const scale = ([, [low, high], , log], start, end) => {
  const f = log ? Math.log : (value) => value;
  return (value) => start + ((f(value) - f(low)) / (f(high) - f(low))) * (end - start);
};

const path = (points) => {
  let line = "", pen = "M";
  for (const point of points) {
    if (point) line += `${pen}${point[0].toFixed(1)} ${point[1].toFixed(1)}`;
    pen = point ? "L" : "M";
  }
  return line;
};

const drawn = (panel, number, data, state, before) => {
  const [title, x, y] = panel;
  const [right, bottom] = [WIDTH - RIGHT, HEIGHT - BOTTOM];
  const [toX, toY] = [scale(x, LEFT, right), scale(y, bottom, TOP)];
  const svg = element("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, width: WIDTH, height: HEIGHT, class: "figure" });
  svg.append(element("text", { x: (LEFT + right) / 2, y: 14, "text-anchor": "middle" }, title));
  svg.append(element("path", { d: `M${LEFT} ${TOP}V${bottom}H${right}`, class: "axis" }));
  for (const [value, name] of x[2]) {
    svg.append(element("path", { d: `M${toX(value)} ${bottom}v4`, class: "axis" }));
    svg.append(element("text", { x: toX(value), y: bottom + 16, "text-anchor": "middle" }, name));
  }
  for (const [value, name] of y[2]) {
    svg.append(element("path", { d: `M${LEFT} ${toY(value)}h-4`, class: "axis" }));
    svg.append(element("text", { x: LEFT - 6, y: toY(value) + 4, "text-anchor": "end" }, name));
  }
  svg.append(element("text", { x: (LEFT + right) / 2, y: HEIGHT - 6, "text-anchor": "middle" }, x[0]));
  const middle = (TOP + bottom) / 2;
  svg.append(element("text", { x: 12, y: middle, "text-anchor": "middle", transform: `rotate(-90 12 ${middle})` }, y[0]));
  const [across, down] = [right - LEFT, bottom - TOP];
  const plot = element("svg", { x: LEFT, y: TOP, width: across, height: down, viewBox: `${LEFT} ${TOP} ${across} ${down}` });
  svg.append(plot); // what leaves it is cut off
  const add = (which, look) => {
    for (const at of which) {
      const [own, xs, ys, color] = data.lines[at];
      if (own !== number) continue;
      const points = xs.map((v, i) => ys[i] !== null && [toX(v), toY(ys[i])]);
      plot.append(element("path", { d: path(points), ...look(color) }));
    }
  };
  add(before.filter((at) => !state[0].includes(at)), () => ({ class: "before" }));
  add(state[0], (color) => ({ class: "now", stroke: color }));
  for (const [own, vx, vy] of state[2]) {
    if (own === number) svg.append(element("circle", { cx: toX(vx), cy: toY(vy), r: 5, class: "mark" }));
  }
  return svg;
};

const explore = (form) => {
  const data = JSON.parse(form.querySelector("script").textContent);
  const inputs = [...form.querySelectorAll("select, input")];
  let cell = form.closest(".cell"); // the static figure is that of the cell before
  while (!cell.querySelector("div.panels")) cell = cell.previousElementSibling;
  const still = cell.querySelector("div.panels");
  const live = document.createElement("div");
  live.className = "panels live";
  live.setAttribute("role", "img");
  still.classList.add("still");
  still.after(live);
  let before = [];
  const show = () => {
    const state = data.states[inputs.map((input) => input.value).join(",")];
    live.replaceChildren(...data.panels.map((panel, i) => drawn(panel, i, data, state, before)));
    live.setAttribute("aria-label", state[1]);
    form.querySelector("p").textContent = state[1];
    before = state[0];
    for (const input of inputs) {
      if (!input.dataset.names) continue;
      const name = JSON.parse(input.dataset.names)[input.value];
      input.setAttribute("aria-valuetext", name);
      input.nextElementSibling.textContent = name;
    }
  };
  form.addEventListener("input", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  form.reset(); // a browser that comes back to the page may have kept other choices
  show();
};

document.addEventListener("DOMContentLoaded", () => document.querySelectorAll("form.explorer").forEach(explore));
