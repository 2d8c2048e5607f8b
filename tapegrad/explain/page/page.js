// The state that all parts share, and the controls.

function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function svg(name, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

let waiting = false;
function changed() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    if (waiting) render();
  });
}

function render() {
  waiting = false;
  draw();
  drawListing();
  drawSource();
  drawTimeline();
  drawCard();
}

function goTo(step) {
  step = Math.max(0, Math.min(lastStep, step));
  if (step === state.step) return;
  state.step = step;
  arrive();
}

function arrive() {
  const { node } = steps[state.step];
  state.words = stepWords(state.step);
  drawNow();
  document.getElementById("says").textContent = state.words;
  if (node) {
    const item = view.viewOf.get(node.id);
    follow(item);
    showRow(item);
  }
  changed();
}

// hovering or choosing by key; from the listing, the listing itself stays where it is
function pointAt(node, item = null, listed = false) {
  if (state.focus === node) return;
  state.focus = node;
  if (node && !listed) showRow(view.viewOf.get(node.id));
  changed();
}

function chooseBy(many) {
  const at = state.focus ? rowOf.get(view.viewOf.get(state.focus.id)) + many : many > 0 ? 0 : rows.length - 1;
  const item = rows[Math.max(0, Math.min(rows.length - 1, at))];
  pointAt(item.shown);
  follow(item);
  const words = [`${itemName(item)}: ${itemDetail(item)}`];
  if (hasValue(item.shown, state.step)) words.push(`value ${describe(item.shown.value)}`);
  const adjoint = adjointAt(item.shown, state.step);
  if (adjoint) words.push(`adjoint ${adjoint.text}`);
  document.getElementById("says").textContent = words.join(", ");
}

function pick(node) {
  if (state.picks.length === 2) state.picks = [];
  if (state.picks[0] === node) state.picks = [];
  else state.picks.push(node);
  state.path = state.picks.length === 2 ? pathsBetween(...state.picks) : null;
  if (state.path) state.picks = [state.path.from, state.path.to];
  drawPath();
  const words = pathBox.hidden
    ? "No path."
    : [...pathBox.children].map((part) => part.textContent.replace(/Clear$/, "")).join(". ");
  document.getElementById("says").textContent = words;
  edgesStale = true;
  changed();
}

function clearPath() {
  state.picks = [];
  state.path = null;
  edgesStale = true;
  drawPath();
  nodesCanvas.focus();
  changed();
}

// --- folding

// folds and unfolds, then shows where that happened
function refold(path) {
  useView(state.folded);
  useRows();
  state.focus = null;
  for (const [path, button] of moduleButtons) {
    button.setAttribute("aria-expanded", String(!state.folded.has(path)));
    button.firstChild.textContent = state.folded.has(path) ? "+" : "\u2212";
  }
  open();
  const there = view.byX.find((item) => item.module === path || (path && modulesOf(moduleOf(item)).includes(path)));
  const { node } = steps[state.step];
  if (path && there) follow(there);
  else if (node) follow(view.viewOf.get(node.id));
  changed();
}

function fold(path) {
  state.folded.add(path);
  refold(path);
}
function unfold(path) {
  state.folded.delete(path);
  refold(path);
}
function toggleFold(path) {
  if (state.folded.has(path)) unfold(path);
  else fold(path);
}

// the module of the chosen node, folded or not
function foldFocus() {
  if (!state.focus) return;
  const item = view.viewOf.get(state.focus.id),
    node = state.focus;
  if (item.module !== undefined) unfold(item.module);
  else if (modulesOf(node.module).length) fold(modulesOf(node.module).at(-1));
  else return;
  pointAt(view.viewOf.get(node.id).shown);
}

const moduleButtons = new Map();
const modulesBox = document.getElementById("modules");
{
  const list = document.getElementById("module-list");
  for (const path of modulePaths) {
    const button = element(
      "button",
      { type: "button", "aria-expanded": "true", "data-module": path },
      element("span", { "aria-hidden": "true" }, "\u2212"),
      ` ${path}`,
      element("small", {}, kindOf.get(path) ? ` ${kindOf.get(path)}` : ""),
    );
    button.style.marginLeft = `${modulesOf(path).length - 1}em`;
    button.addEventListener("click", () => toggleFold(path));
    moduleButtons.set(path, button);
    list.append(element("li", {}, button));
  }
  modulesBox.hidden = !modulePaths.length;
  const all = (folded) => () => {
    state.folded = folded();
    refold();
  };
  document.getElementById("fold-all").addEventListener(
    "click",
    all(() => new Set(modulePaths)),
  );
  document.getElementById("unfold-all").addEventListener(
    "click",
    all(() => new Set()),
  );
}

function closeModules() {
  modulesBox.open = false;
  modulesBox.firstElementChild.focus();
}
document.addEventListener("pointerdown", (event) => {
  if (!modulesBox.contains(event.target)) modulesBox.open = false;
});

// --- light and dark

const darkSystem = matchMedia("(prefers-color-scheme: dark)");
const themeButton = document.getElementById("theme");
function useTheme(theme) {
  document.documentElement.dataset.theme = theme;
  themeButton.setAttribute("aria-pressed", String(theme === "dark"));
  readColours();
  edgesStale = true;
  changed();
}
themeButton.addEventListener("click", () =>
  useTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"),
);
darkSystem.addEventListener("change", () => useTheme(darkSystem.matches ? "dark" : "light"));

// --- controls and keys

const playButton = document.getElementById("play");
let playing = 0;
function play(on) {
  clearInterval(playing);
  playing = 0;
  if (on && state.step === lastStep) goTo(0);
  if (on)
    playing = setInterval(
      () => {
        if (state.step === lastStep) play(false);
        else goTo(state.step + 1);
      },
      lastStep > 200 ? 60 : 700,
    );
  playButton.textContent = on ? "Pause" : "Play";
}

const zoomBy = (factor) => () => {
  zoom(factor);
  changed();
};
const whole = () => {
  fit();
  changed();
};
for (const [id, act] of Object.entries({
  first: () => goTo(0),
  back: () => goTo(state.step - 1),
  forth: () => goTo(state.step + 1),
  last: () => goTo(lastStep),
  play: () => play(!playing),
  "zoom-in": zoomBy(1.3),
  "zoom-out": zoomBy(1 / 1.3),
  fit: whole,
}))
  document.getElementById(id).addEventListener("click", act);

const keys = {
  ArrowRight: () => goTo(state.step + 1),
  ArrowLeft: () => goTo(state.step - 1),
  Home: () => goTo(0),
  End: () => goTo(lastStep),
  PageDown: () => goTo(state.step + 10),
  PageUp: () => goTo(state.step - 10),
  ArrowDown: () => chooseBy(1),
  ArrowUp: () => chooseBy(-1),
  Enter: () => {
    if (state.focus) pick(state.focus);
  },
  Escape: () => {
    if (modulesBox.open) closeModules();
    else {
      clearPath();
      pointAt(null);
    }
  },
  f: foldFocus,
  "+": zoomBy(1.3),
  "=": zoomBy(1.3),
  "-": zoomBy(1 / 1.3),
  0: whole,
  " ": () => play(!playing),
};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !Object.hasOwn(keys, event.key)) return;
  // buttons and the slider have keys of their own
  if (event.target === slider && (event.key === "ArrowUp" || event.key === "ArrowDown")) return;
  if ((event.key === "Enter" || event.key === " ") && event.target.closest("button, summary")) return;
  event.preventDefault();
  keys[event.key]();
});

const state = { step: 0, focus: null, picks: [], path: null, folded: new Set(), words: "" };

// a graph too large to be read starts with its outermost modules folded
const outermost = modulePaths.filter((path) => modulesOf(path).length === 1);
if (nodes.length > 400 && outermost.length) state.folded = new Set(modulePaths);

useTheme(darkSystem.matches ? "dark" : "light");
resize();
refold();
arrive();
render();
performance.mark("drawn");
new ResizeObserver(() => {
  if (graphBox.clientWidth !== size.width || graphBox.clientHeight !== size.height) {
    resize();
    if (!camera.moved) {
      open();
      if (steps[state.step].node) follow(view.viewOf.get(steps[state.step].node.id));
    }
  }
  changed();
}).observe(graphBox);

// for scripts: where a node is seen, what is known, a step drawn at once
window.explain = {
  goTo,
  render,
  fold,
  unfold,
  lastStep,
  seedStep,
  get state() {
    return {
      step: state.step,
      focus: state.focus && state.focus.name,
      picks: state.picks.map(({ name }) => name),
      folded: [...state.folded],
      shown: view.items.length,
    };
  },
  pick(name) {
    pick(nodes.find((node) => node.name === name));
  },
  placeOf(name) {
    const item = view.items.find((other) => itemName(other) === name);
    const box = nodesCanvas.getBoundingClientRect();
    const [x, y] = seenPlace(item.x, item.y);
    return [x + box.left, y + box.top];
  },
};
