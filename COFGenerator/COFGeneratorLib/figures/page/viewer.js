"use strict";
// State and controls. planes.js draws slices, surfaces.js the solid; both are called by show().
const facts = JSON.parse(document.getElementById("facts").textContent);
const byId = (id) => document.getElementById(id);
const [startX, startY, startZ] = facts.start;
const state = { frame: 0, slice: startZ, x: startX, y: startY, playing: true, speed: 1, at: 0, outlines: true };
const count = facts.time_ms.length;
let planes = null, solid = null, before = 0;

function bytesOf(id) {
  const words = atob(byId(id).textContent), bytes = new Uint8Array(words.length);
  for (let i = 0; i < words.length; i++) bytes[i] = words.charCodeAt(i);
  return bytes;
}

async function inflated(id) {
  const stream = new Blob([bytesOf(id)]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).arrayBuffer();
}

function trouble(words) {
  byId("trouble").textContent = words;
  byId("trouble").hidden = false;
}

const clamped = (value, low, high) => Math.min(Math.max(value, low), high);

function resetGrey() {
  const [low, high] = facts.intensities, scale = 255 / (high - low);
  const [black, white] = facts.grey.map((value) => (value - low) * scale);
  setGrey(white - black, (white + black) / 2);
}

function setGrey(width, centre) {
  state.window = clamped(width, 1, 400);
  state.level = clamped(centre, 0, 255);
}

function setFrame(frame) {
  state.frame = (frame + count) % count;
  state.at = facts.time_ms[state.frame];
}

function nearestFrame(at) {
  let best = 0, least = Infinity;
  for (let t = 0; t < count; t++) {
    const away = Math.abs(at - facts.time_ms[t]), round = Math.min(away, facts.rr_ms - away);
    if (round < least) [least, best] = [round, t];
  }
  return best;
}

function play(on) {
  state.playing = on;
  byId("play").textContent = on ? "Pause" : "Play";
}

function setSpeed(step) {
  const box = byId("speed");
  box.selectedIndex = clamped(box.selectedIndex + step, 0, box.options.length - 1);
  state.speed = Number(box.value);
}

function show() {
  byId("frame").value = state.frame;
  byId("slice").value = state.slice;
  byId("window").value = state.window;
  byId("level").value = state.level;
  const [zero, end] = facts.cursor, x = zero + (state.at / facts.rr_ms) * (end - zero);
  byId("cursor").setAttribute("x1", x);
  byId("cursor").setAttribute("x2", x);
  const volume = facts.volumes.length ? ` · LV ${facts.volumes[state.frame].toFixed(0)} mL` : "";
  byId("now").textContent = `${state.at.toFixed(0)} ms · frame ${state.frame + 1} of ${count}${volume}`;
  byId("slice-words").textContent = `· slice ${state.slice + 1} of ${facts.depth} from the base`;
  planes.draw(state);
  if (solid) solid.draw(state.frame);
  document.body.dataset.frame = state.frame;
  document.body.dataset.slice = state.slice;
}

function tick(now) {
  if (state.playing) {
    state.at = (state.at + Math.min(now - before, 250) * state.speed) % facts.rr_ms;
    state.frame = nearestFrame(state.at);
    show();
  }
  before = now;
  requestAnimationFrame(tick);
}

const KEYS = {
  " ": () => play(!state.playing),
  ArrowRight: () => { play(false); setFrame(state.frame + 1); },
  ArrowLeft: () => { play(false); setFrame(state.frame - 1); },
  ArrowDown: () => { state.slice = clamped(state.slice + 1, 0, facts.depth - 1); },
  ArrowUp: () => { state.slice = clamped(state.slice - 1, 0, facts.depth - 1); },
  "+": () => setSpeed(1),
  "-": () => setSpeed(-1),
  o: () => { state.outlines = byId("outlines").checked = !state.outlines; },
  r: resetGrey,
};

function onKey(event) {
  const work = KEYS[event.key] || KEYS[event.key.toLowerCase()];
  const own = event.target.closest("select, input, button");  // what has keys of its own keeps them
  if (!work || event.ctrlKey || event.metaKey || event.altKey || (own && /^( |Arrow)/.test(event.key))) return;
  event.preventDefault();
  work();
  show();
}

function listen() {
  byId("frame").max = count - 1;
  byId("slice").max = facts.depth - 1;
  document.addEventListener("keydown", onKey);
  const on = (id, kind, work) => byId(id).addEventListener(kind, (event) => { work(event); show(); });
  on("play", "click", () => play(!state.playing));
  on("reset", "click", resetGrey);
  on("speed", "change", () => setSpeed(0));
  on("frame", "input", (event) => { play(false); setFrame(Number(event.target.value)); });
  on("slice", "input", (event) => { state.slice = Number(event.target.value); });
  on("window", "input", (event) => setGrey(Number(event.target.value), state.level));
  on("level", "input", (event) => setGrey(state.window, Number(event.target.value)));
  on("outlines", "change", (event) => { state.outlines = event.target.checked; });
  byId("short").addEventListener("wheel", (event) => {
    event.preventDefault();
    KEYS[event.deltaY > 0 ? "ArrowDown" : "ArrowUp"]();
    show();
  }, { passive: false });
  dragged(byId("short"), {
    move: (dx, dy) => setGrey(state.window * Math.exp(dx / 150), state.level + dy / 2),
    click: (x, y) => { [state.x, state.y] = planes.shortPoint(x, y); },
  });
  for (const id of ["long-x", "long-y"]) dragged(byId(id), { click: (x, y) => { state.slice = planes.longSlice(id, y); } });
  const seek = (event) => {
    const box = byId("curves").getBoundingClientRect(), [zero, end] = facts.cursor;
    const x = (event.clientX - box.left) / box.width * byId("curves").viewBox.baseVal.width;
    play(false);
    setFrame(nearestFrame(clamped((x - zero) / (end - zero), 0, 1) * facts.rr_ms));
  };
  on("curves", "pointerdown", seek);
  byId("curves").addEventListener("pointermove", (event) => { if (event.buttons) { seek(event); show(); } });
}

// A press that moves drags, one that stays is a click at (x, y), CSS pixels of the element.
function dragged(element, { move = () => {}, click = () => {} }) {
  let last = null, moved = false;
  element.addEventListener("pointerdown", (event) => {
    last = [event.clientX, event.clientY];
    moved = false;
    element.setPointerCapture(event.pointerId);
  });
  element.addEventListener("pointermove", (event) => {
    if (!last) return;
    const [dx, dy] = [event.clientX - last[0], event.clientY - last[1]];
    if (!moved && Math.hypot(dx, dy) < 4) return;
    moved = true;
    last = [event.clientX, event.clientY];
    move(dx, dy);
    show();
  });
  element.addEventListener("pointerup", (event) => {
    if (last && !moved) { click(event.offsetX, event.offsetY); show(); }
    last = null;
  });
  element.addEventListener("pointercancel", () => { last = null; });
}

async function start() {
  if (typeof DecompressionStream === "undefined") {
    trouble("This browser is too old to unpack the heart. Open the file in a version of 2023 or later.");
    return;
  }
  const labels = byId("labels") ? new Uint8Array(await inflated("labels")) : null;
  planes = new Planes(await decodedVolume(), labels);
  if (byId("surfaces")) {
    try {
      solid = new Solid(byId("solid"), await inflated("surfaces"));
    } catch (error) {
      byId("solid-words").textContent = `surfaces need WebGL 2 (${error.message})`;
    }
  } else byId("solid").closest("figure").hidden = true;
  resetGrey();
  play(!matchMedia("(prefers-reduced-motion: reduce)").matches);
  setFrame(0);
  listen();
  new ResizeObserver(show).observe(document.querySelector(".stage"));
  show();
  document.body.dataset.ready = "yes";
  requestAnimationFrame((now) => { before = now; tick(now); });
}

addEventListener("DOMContentLoaded", () => start().catch((error) => trouble(`The page cannot be shown: ${error.message}`)));
