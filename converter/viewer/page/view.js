// The page's state lives in its URL: filters, order, bands, the open patch. Every change goes through
// `change`, so that a link shows what was seen, and Back works.
import { makeWall } from "./wall.js";
import { makePatch } from "./patch.js";
import { makePlaces } from "./places.js";

const byId = (id) => document.getElementById(id);
export const SPLITS = ["#0b62c4", "#e08a00", "#1f9d55", "#a03fc0", "#c0392b", "#5b6670"];

let store;
let wall, patch, places;
let selected = { count: 0, counts: {} };

export function element(name, options = {}, ...children) {
  // Text goes in as text only: nothing of a store can become markup.
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(options)) {
    if (key === "text") made.textContent = value;
    else if (key === "class") made.className = value;
    else if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== false && value !== null) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

export async function fetched(address, as = "json") {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(await answer.text());
  if (as === "json") return answer.json();
  return { bytes: await answer.arrayBuffer(), headers: answer.headers };
}

export function fail(error) {
  const shown = byId("error");
  shown.textContent = error.message || String(error);
  shown.hidden = false;
  clearTimeout(fail.later);
  fail.later = setTimeout(() => { shown.hidden = true; }, 8000);
}

// ---- state -------------------------------------------------------------------------------------
const DEFAULT = { values: {}, every: [], text: "", box: null, order: "", descending: false,
                  modality: "", channels: {}, stretch: "shared", size: 120, places: false, row: null };

function readState() {
  const state = structuredClone(DEFAULT);
  try {
    const text = decodeURIComponent(location.hash.slice(1));
    const found = text ? JSON.parse(text) : {};
    for (const key of Object.keys(DEFAULT)) {
      if (!(key in found)) continue;
      const usual = DEFAULT[key];
      if (usual === null || typeof usual === typeof found[key]) state[key] = found[key];
    }
  } catch { /* a link that somebody broke shows everything */ }
  return state;
}

export let state = readState();

function writeState(replace) {
  const found = {};
  for (const [key, value] of Object.entries(state)) {
    if (JSON.stringify(value) !== JSON.stringify(DEFAULT[key])) found[key] = value;
  }
  const text = JSON.stringify(found);
  const hash = text === "{}" ? "" : "#" + encodeURIComponent(text);
  if (hash === location.hash) return;
  const address = location.pathname + hash;
  if (replace) history.replaceState(null, "", address); else history.pushState(null, "", address);
}

export function change(part, { replace = false } = {}) {
  state = { ...state, ...part };
  writeState(replace);
  return show(Object.keys(part)).catch(fail);
}

export function asked() {
  const { values, every, text, box, order, descending } = state;
  const found = {};
  if (Object.keys(values).length) found.values = values;
  if (every.length) found.every = every;
  if (text) found.text = text;
  if (box) found.box = box;
  if (order) found.order = order;
  if (descending) found.descending = true;
  const said = JSON.stringify(found);
  return said === "{}" ? "" : encodeURIComponent(said);
}

export function modalityNamed(name) {
  return store.modalities.find((one) => one.name === name) || store.modalities[0];
}

export function channelsOf(modality) {
  const chosen = state.channels[modality.name];
  const known = (name) => modality.channels.includes(name);
  return Array.isArray(chosen) && chosen.length && chosen.every(known) ? chosen : modality.preset;
}

export function thumbnail(modality, row) {
  const channels = channelsOf(modality).map((name) => "channel=" + encodeURIComponent(name)).join("&");
  return `thumbnail/${encodeURIComponent(modality.name)}/${row}?${channels}&stretch=${state.stretch}` +
    `&v=${store.digest}`;
}

// ---- filters -----------------------------------------------------------------------------------
function toggle(column, value, on) {
  const values = { ...state.values };
  const chosen = (values[column] || []).filter((one) => one !== value);
  if (on) chosen.push(value);
  if (chosen.length) values[column] = chosen; else delete values[column];
  change({ values });
}

const KINDS = { split: "Split", labels: "Labels", flag: "Flags", presence: "Modalities", column: "" };
const shownValue = (value) => value === true ? "yes" : value === false ? "no" : value;

function drawFacets() {
  const nav = byId("facets");
  const focused = document.activeElement?.dataset?.facet;
  const scrolled = nav.scrollTop;
  const parts = [];
  for (const facet of store.facets) {
    const counts = selected.counts[facet.column] || [];
    const most = Math.max(1, ...counts);
    const chosen = state.values[facet.column] || [];
    const title = KINDS[facet.kind] && KINDS[facet.kind].toLowerCase() !== facet.column.toLowerCase()
      ? `${KINDS[facet.kind]}: ${facet.column}` : facet.column;
    const head = element("h2", {}, element("span", { text: title }));
    if (facet.kind === "labels") {
      head.append(element("label", {},
        element("input", { type: "checkbox", id: "every-" + facet.column,
          checked: state.every.includes(facet.column),
          onchange: (event) => change({ every: event.target.checked
            ? [...state.every, facet.column] : state.every.filter((one) => one !== facet.column) }) }),
        " all of them"));
    }
    parts.push(head);
    facet.values.forEach((value, number) => {
      const count = counts[number] || 0;
      const name = shownValue(value);
      const row = element("label", { class: "value" + (count ? "" : " none") },
        element("input", { type: "checkbox", checked: chosen.includes(value),
          "data-facet": facet.column + "\n" + name,
          onchange: (event) => toggle(facet.column, value, event.target.checked) }),
        element("span", {}, ...(facet.kind === "split" ? [dot(SPLITS[number % SPLITS.length])] : []), name),
        element("span", { class: "number", text: count.toLocaleString("en") }));
      row.style.setProperty("--share", `${100 * count / most}%`);
      parts.push(row);
    });
  }
  nav.replaceChildren(...parts);
  nav.scrollTop = scrolled;
  if (focused) [...nav.querySelectorAll("input")].find((one) => one.dataset.facet === focused)?.focus();
}

function dot(colour) {
  const made = element("span", { class: "dot" });
  made.style.background = colour;
  return made;
}

function drawChosen() {
  const parts = [];
  const chip = (text, undo) => parts.push(element("button",
    { type: "button", title: "Take this filter away", text: text + " ✕", onclick: undo }));
  for (const [column, values] of Object.entries(state.values)) {
    for (const value of values) {
      chip(`${column}: ${shownValue(value)}`, () => toggle(column, value, false));
    }
  }
  if (state.text) chip(`name has “${state.text}”`, () => { byId("text").value = ""; change({ text: "" }); });
  if (state.box) chip("inside the box", () => change({ box: null }));
  if (parts.length > 1) {
    parts.push(element("button", { type: "button", id: "clear", text: "Clear all", onclick: () => {
      byId("text").value = "";
      change({ values: {}, every: [], text: "", box: null });
    } }));
  }
  byId("chosen").replaceChildren(...parts);
}

function drawExport() {
  for (const kind of ["keys", "parquet", "where"]) {
    const link = byId("export-" + kind);
    const impossible = kind === "where" && (state.text || state.box || state.every.length) || !selected.count;
    link.setAttribute("aria-disabled", String(Boolean(impossible)));
    if (impossible) link.removeAttribute("href");
    else link.href = `export?as=${kind}&f=${asked()}`;
    link.title = { keys: "One name a line, for patchpress copy --keys FILE",
      parquet: "A table with the columns that name records",
      where: impossible ? "A part of a name, a box, or several labels at once cannot be said by where"
        : "Options --where of commands, and where= of loaders" }[kind];
  }
}

function drawBands() {
  const modality = modalityNamed(state.modality);
  byId("bands").replaceChildren(...bandChoices(modality));
}

export function bandChoices(modality) {
  if (modality.classes) return [];
  const chosen = channelsOf(modality);
  const set = (channels) => change({ channels: { ...state.channels, [modality.name]: channels } });
  const parts = [];
  const colours = chosen.length === 3 ? ["R", "G", "B"] : ["Grey"];
  chosen.forEach((name, number) => {
    const choice = element("select", { "aria-label": colours[number], "data-channel": number,
      onchange: (event) => set(chosen.map((one, at) => at === number ? event.target.value : one)) });
    for (const channel of modality.channels) {
      choice.append(element("option", { text: channel, selected: channel === name }));
    }
    parts.push(element("label", {}, colours[number] + " ", choice));
  });
  const presets = presetsOf(modality);
  if (presets.length > 1) {
    const choice = element("select", { "aria-label": "Preset", class: "preset",
      onchange: (event) => event.target.value && set(presets[event.target.value].channels) });
    choice.append(element("option", { value: "", text: "preset …" }));
    presets.forEach((preset, number) => choice.append(element("option", { value: String(number), text: preset.name })));
    parts.push(choice);
  }
  return parts;
}

function presetsOf(modality) {
  const has = (...names) => names.every((name) => modality.channels.includes(name));
  const usual = modality.preset.length === 3
    ? { name: modality.channels.includes("VV/VH") ? "radar: VV, VH, ratio" : "true colour" } : { name: "first band" };
  const found = [{ ...usual, channels: modality.preset }];
  const add = (name, ...channels) => { if (has(...channels)) found.push({ name, channels }); };
  for (const zero of ["0", ""]) {
    add("vegetation: near infrared, red, green", "B" + zero + "8", "B" + zero + "4", "B" + zero + "3");
    add("agriculture: SWIR, near infrared, blue", "B11", "B" + zero + "8", "B" + zero + "2");
    add("water and burns: SWIR, near infrared, red", "B12", "B" + zero + "8", "B" + zero + "4");
    add("red edge: B7, B6, B5", "B" + zero + "7", "B" + zero + "6", "B" + zero + "5");
  }
  return found.filter((one, at) => found.findIndex((other) => other.name === one.name) === at);
}

// ---- showing -----------------------------------------------------------------------------------
const FILTERS = ["values", "every", "text", "box", "order", "descending"];
let wanted = 0;

async function show(changed) {
  const filtered = changed === null || changed.some((part) => FILTERS.includes(part));
  const drawn = changed === null || changed.some((part) => ["modality", "channels", "stretch", "size"].includes(part));
  if (filtered) {
    const number = ++wanted;
    const found = await fetched("select?f=" + asked());
    if (number !== wanted) return;  // another filter was asked for meanwhile
    selected = found;
    const rows = store.rows;
    byId("count").textContent = selected.count === rows
      ? `${rows.toLocaleString("en")} patches`
      : `${selected.count.toLocaleString("en")} of ${rows.toLocaleString("en")} patches`;
    drawFacets();
    drawChosen();
    drawExport();
    byId("order").value = state.order;
    byId("descending").setAttribute("aria-pressed", String(state.descending));
    if (document.activeElement !== byId("text")) byId("text").value = state.text;
  }
  if (drawn) {
    byId("modality").value = modalityNamed(state.modality).name;
    byId("stretch").value = state.stretch;
    byId("size").value = String(state.size);
    drawBands();
  }
  if (filtered || drawn) wall.show(selected.count, filtered);
  byId("places").hidden = !(state.places && store.has_places);
  byId("show-places").setAttribute("aria-pressed", String(state.places));
  if (state.places && store.has_places && (filtered || changed.includes("places"))) await places.show(asked());
  await patch.show(state.row, drawn);
}

async function begin() {
  store = await fetched("store");
  document.title = `${store.place} – Patchpress`;
  byId("title").textContent = store.title;
  byId("about").textContent = `${store.place} · ${store.licence}`;
  for (const order of store.orders) {
    byId("order").append(element("option", { value: order, text: order || "table" }));
  }
  for (const modality of store.modalities) {
    byId("modality").append(element("option", { value: modality.name, text: modality.name }));
  }
  byId("show-places").hidden = !store.has_places;
  wall = makeWall(byId("wall"), byId("sheet"));
  patch = makePatch(store, wall);
  places = makePlaces(store);
  let later;
  byId("text").addEventListener("input", (event) => {
    clearTimeout(later);
    later = setTimeout(() => change({ text: event.target.value.trim() }, { replace: true }), 200);
  });
  byId("order").addEventListener("change", (event) => change({ order: event.target.value }));
  byId("descending").addEventListener("click", () => change({ descending: !state.descending }));
  byId("modality").addEventListener("change", (event) => change({ modality: event.target.value }));
  byId("stretch").addEventListener("change", (event) => change({ stretch: event.target.value }));
  byId("size").addEventListener("input", (event) => change({ size: Number(event.target.value) }, { replace: true }));
  byId("show-places").addEventListener("click", () => change({ places: !state.places }));
  window.addEventListener("popstate", () => { state = readState(); show(null).catch(fail); });
  document.addEventListener("keydown", (event) => {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    if (event.key === "/" && !typing) { byId("text").focus(); event.preventDefault(); }
  });
  await show(null);
  document.body.dataset.ready = "true";
}

begin().catch(fail);
