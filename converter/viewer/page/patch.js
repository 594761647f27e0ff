// One patch, large: its modalities side by side, the map laid over, and every band under the cursor.
import { bandChoices, change, channelsOf, element, fail, fetched, modalityNamed, state } from "./view.js";

const byId = (id) => document.getElementById(id);
const ARRAYS = { uint8: Uint8Array, int8: Int8Array, uint16: Uint16Array, int16: Int16Array,
  uint32: Uint32Array, int32: Int32Array, float32: Float32Array, float64: Float64Array };

export function makePatch(store, wall) {
  const dialog = byId("patch");
  let shown = null, pixels = {}, panels = new Map(), opacity = 0.5, overlaid = false, at = null;

  async function load(row) {
    const facts = await fetched(`row/${row}`);
    const found = {};
    await Promise.all(Object.entries(facts.keys).filter(([, key]) => key !== null).map(async ([name]) => {
      const { bytes, headers } = await fetched(`pixels/${encodeURIComponent(name)}/${row}?v=${store.digest}`, "bytes");
      const [bands, height, width] = headers.get("X-Shape").split(",").map(Number);
      const kind = ARRAYS[headers.get("X-Dtype")];
      if (!kind) throw new Error(`pixels of type ${headers.get("X-Dtype")} cannot be shown`);
      found[name] = { bands, height, width, values: new kind(bytes) };
    }));
    return [facts, found];
  }

  function channel(modality, one, name) {
    const size = one.height * one.width;
    const band = (wanted) => {
      const number = modality.bands.findIndex((other) => other.name === wanted);
      return one.values.subarray(number * size, (number + 1) * size);
    };
    if (name !== "VV/VH") return band(name);
    const [vv, vh] = modality.radar.map(band);
    const decibels = [vv, vh].some((one) => one.some((value) => value < 0 && Number.isFinite(value)));
    return Float32Array.from(vv, (value, i) => decibels ? value - vh[i] : value / vh[i]);
  }

  function ownRange(values) {
    const finite = Array.from(values).filter(Number.isFinite).sort((a, b) => a - b);
    if (!finite.length) return [0, 1];
    const pick = (share) => finite[Math.round(share * (finite.length - 1))];
    const [low, high] = [pick(0.02), pick(0.98)];
    return low < high ? [low, high] : [finite[0], finite[finite.length - 1]];
  }

  function colourOf(classes, code) {
    // A code of no known class has a colour by its number, the same as on the wall and in `plot`.
    const count = classes.others.length;
    const text = classes.colours[code] || classes.others[((Number(code) % count) + count) % count];
    return [1, 3, 5].map((start) => parseInt(text.slice(start, start + 2), 16));
  }

  function paint(modality, one, canvas) {
    canvas.width = one.width;
    canvas.height = one.height;
    const context = canvas.getContext("2d");
    const image = context.createImageData(one.width, one.height);
    const size = one.width * one.height;
    if (modality.classes) {
      const known = new Map();
      for (let i = 0; i < size; i++) {
        const code = one.values[i];
        if (!known.has(code)) known.set(code, colourOf(modality.classes, code));
        image.data.set(known.get(code), 4 * i);
        image.data[4 * i + 3] = 255;
      }
    } else {
      const names = channelsOf(modality);
      const parts = names.map((name) => {
        const values = channel(modality, one, name);
        const [low, high] = state.stretch === "own" ? ownRange(values) : modality.ranges[name];
        return { values, low, scale: high > low ? 255 / (high - low) : 0 };
      });
      for (let i = 0; i < size; i++) {
        // A pixel that is NaN in one of its channels is black: the others alone mean nothing.
        const known = !parts.some(({ values }) => Number.isNaN(values[i]));
        for (let c = 0; c < 3; c++) {
          const { values, low, scale } = parts[parts.length === 3 ? c : 0];
          // An array of 8 bits that clamps does the rest; what is not finite is black.
          const value = known ? values[i] : NaN;
          image.data[4 * i + c] = Number.isFinite(value) ? (scale ? (value - low) * scale : 128) : 0;
        }
        image.data[4 * i + 3] = 255;
      }
    }
    context.putImageData(image, 0, 0);
  }

  function drawPanels() {
    const parts = [];
    panels = new Map();
    const map = store.modalities.find((one) => one.classes && pixels[one.name]);
    for (const modality of store.modalities) {
      const one = pixels[modality.name];
      const panel = element("div", { class: "panel", "data-modality": modality.name },
        element("h3", { text: `${modality.name}: ${modality.title}` }));
      if (!one) {
        panel.append(element("p", { text: `This patch has no record of ${modality.name}.` }));
        parts.push(panel);
        continue;
      }
      const canvas = element("canvas", { "aria-label": `${modality.name} of ${shown.name}` });
      const stack = element("div", { class: "stack" }, canvas);
      paint(modality, one, canvas);
      canvas.addEventListener("mousemove", (event) => {
        const box = canvas.getBoundingClientRect();
        point((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
      });
      panels.set(modality.name, canvas);
      panel.append(stack);
      const choices = element("div", { class: "choices" }, ...bandChoices(modality));
      if (map && map !== modality) {
        const over = element("canvas", { class: "over", hidden: !overlaid });
        paint(map, pixels[map.name], over);
        over.style.opacity = String(opacity);
        stack.append(over);
      } else if (map === modality) {
        choices.append(element("label", {}, element("input", { type: "checkbox", id: "overlay", checked: overlaid,
          onchange: (event) => { overlaid = event.target.checked; drawPanels(); byId("overlay").focus(); } }), " lay over the pictures "),
        element("input", { type: "range", min: 0, max: 1, step: 0.05, value: opacity, "aria-label": "Opacity",
          oninput: (event) => {
            opacity = Number(event.target.value);
            for (const over of dialog.querySelectorAll("canvas.over")) over.style.opacity = String(opacity);
          } }));
      }
      panel.append(choices);
      if (modality.classes) panel.append(legend(modality, one));
      parts.push(panel);
    }
    byId("panels").replaceChildren(...parts);
  }

  function legend(modality, one) {
    const counts = new Map();
    for (let i = 0; i < one.width * one.height; i++) counts.set(one.values[i], (counts.get(one.values[i]) || 0) + 1);
    const list = element("ul", { class: "legend", "aria-label": modality.classes.title });
    for (const [code, count] of [...counts].sort((a, b) => b[1] - a[1])) {
      const swatch = element("span", { class: "swatch" });
      swatch.style.background = `rgb(${colourOf(modality.classes, code).join(" ")})`;
      const share = (100 * count / (one.width * one.height)).toFixed(count * 100 < one.width * one.height ? 1 : 0);
      list.append(element("li", {}, swatch,
        element("span", { text: `${code}  ${modality.classes.names[code] || "no class known"}, ${share} %` })));
    }
    return list;
  }

  // Where the cursor is, as shares of width and height: the same place in every modality.
  function point(x, y) {
    at = [Math.min(Math.max(x, 0), 0.9999), Math.min(Math.max(y, 0), 0.9999)];
    const rows = [];
    const lines = [];
    for (const modality of store.modalities) {
      const one = pixels[modality.name];
      if (!one) continue;
      const column = Math.floor(at[0] * one.width), line = Math.floor(at[1] * one.height);
      const values = modality.bands.map((band, number) =>
        one.values[number * one.width * one.height + line * one.width + column]);
      lines.push({ modality, values });
      modality.bands.forEach((band, number) => {
        let text = Number.isInteger(values[number]) ? String(values[number]) : values[number].toFixed(3);
        if (modality.classes) text += `  ${modality.classes.names[values[number]] || "no class known"}`;
        rows.push([modality.name, band.name, text]);
      });
      byId("spectrum-title").textContent = `Pixel values, column ${column}, line ${line}`;
    }
    // Bands side by side in columns of six, to be read at a glance.
    const table = byId("values");
    const deep = Math.min(7, rows.length);
    const made = [];
    for (let line = 0; line < deep; line++) {
      const cells = [];
      for (let at = line; at < rows.length; at += deep) {
        const [modality, band, text] = rows[at];
        cells.push(element("th", { text: `${modality} ${band}` }), element("td", { class: "number", text }));
      }
      made.push(element("tr", {}, ...cells));
    }
    table.replaceChildren(...made);
    drawSpectrum(lines.find(({ modality }) => !modality.classes && modality.bands.length > 2));
  }

  function drawSpectrum(line) {
    const canvas = byId("spectrum");
    canvas.hidden = !line;
    if (!line) return;
    const { modality, values } = line;
    const context = canvas.getContext("2d");
    const style = getComputedStyle(document.body);
    const [text, accent, grid] = ["--faint", "--accent", "--line"].map((name) => style.getPropertyValue(name));
    const [left, right, top, bottom] = [58, 10, 12, 40];
    const width = canvas.width - left - right, height = canvas.height - top - bottom;
    const known = Object.entries(modality.ranges).filter(([name]) => modality.bands.some((band) => band.name === name));
    let low = Math.min(...known.map(([, range]) => range[0]), ...values.filter(Number.isFinite));
    let high = Math.max(...known.map(([, range]) => range[1]), ...values.filter(Number.isFinite));
    if (low >= 0) low = 0;
    if (!(high > low)) high = low + 1;
    const x = (number) => left + (values.length > 1 ? number * width / (values.length - 1) : width / 2);
    const y = (value) => top + height - (value - low) / (high - low) * height;
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.font = "12px system-ui, sans-serif";
    context.fillStyle = text;
    context.strokeStyle = grid;
    context.textAlign = "right";
    context.textBaseline = "middle";
    const rough = (high - low) / 4, ten = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((one) => one * ten).find((one) => one >= rough);
    for (let value = Math.ceil(low / step) * step; value <= high; value += step) {
      context.beginPath(); context.moveTo(left, y(value)); context.lineTo(left + width, y(value)); context.stroke();
      context.fillText(Math.abs(high) >= 100 ? Math.round(value).toLocaleString("en") : value.toPrecision(3), left - 6, y(value));
    }
    context.textAlign = "center";
    context.textBaseline = "top";
    modality.bands.forEach((band, number) => context.fillText(band.name, x(number), top + height + 6));
    context.fillText(`bands of ${modality.name}, in the sensor's order`, left + width / 2, top + height + 22);
    context.strokeStyle = context.fillStyle = accent;
    context.lineWidth = 2;
    context.beginPath();
    values.forEach((value, number) => Number.isFinite(value) && context.lineTo(x(number), y(value)));
    context.stroke();
    context.lineWidth = 1;
    values.forEach((value, number) => {
      if (!Number.isFinite(value)) return;
      context.beginPath(); context.arc(x(number), y(value), 3, 0, 7); context.fill();
    });
  }

  function drawRow() {
    const rows = [];
    for (const [name, value] of Object.entries(shown.columns)) {
      const text = Array.isArray(value) ? value.join(", ") : value === null ? "none" : String(value);
      rows.push(element("tr", {}, element("th", { text: name }), element("td", { text })));
    }
    if (shown.place) {
      const [longitude, latitude] = shown.place;
      rows.push(element("tr", {}, element("th", { text: "centre" }),
        element("td", { text: `${latitude.toFixed(4)}° N, ${longitude.toFixed(4)}° E` })));
    }
    byId("row").replaceChildren(...rows);
  }

  const leave = () => change({ row: null });
  const turn = async (step) => {
    const row = await wall.beside(step).catch(fail);
    if (row) change({ row: row.row }, { replace: true });
  };
  byId("close").addEventListener("click", leave);
  byId("previous").addEventListener("click", () => turn(-1));
  byId("next").addEventListener("click", () => turn(1));
  dialog.addEventListener("cancel", (event) => { event.preventDefault(); leave(); });
  dialog.addEventListener("keydown", (event) => {
    if (/^(INPUT|SELECT)$/.test(event.target.tagName)) return;
    if (event.key === "ArrowLeft") turn(-1);
    else if (event.key === "ArrowRight") turn(1);
  });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) leave(); });

  return {
    async show(row, again) {
      if (row === null) {
        if (dialog.open) dialog.close();
        shown = null;
        return;
      }
      if (!shown || shown.row !== row) {
        const [facts, found] = await load(row);
        if (state.row !== row) return;  // another one was opened meanwhile
        [shown, pixels] = [facts, found];
        byId("patch-name").textContent = shown.name;
        drawPanels();
        drawRow();
      } else if (again) {
        drawPanels();
      }
      if (!dialog.open) { dialog.showModal(); byId("next").focus(); }
      point(...(at || [0.5, 0.5]));
    },
  };
}
