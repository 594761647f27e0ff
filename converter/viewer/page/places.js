// Places as dots on a map, coloured by split; a box drawn on it filters.
import { SPLITS, change, element, fail, fetched, state } from "./view.js";

export function makePlaces(store) {
  const canvas = document.getElementById("places-canvas");
  const help = document.getElementById("places-help");
  const split = store.facets.find((facet) => facet.kind === "split");
  let places = null, codes = null, coast = null, inside = null, frame = null, drag = null;

  async function load() {
    const found = await fetched("places", "bytes");
    places = new Float32Array(found.bytes);
    codes = new Uint8Array((await fetched("split-of-rows", "bytes")).bytes);
    coast = await fetched("coastline");
    frame = bounds();
  }

  function bounds() {
    let [west, south, east, north] = [180, 90, -180, -90];
    for (let i = 0; i < places.length; i += 2) {
      const x = places[i], y = places[i + 1];
      if (!Number.isFinite(x)) continue;
      if (x < west) west = x;
      if (x > east) east = x;
      if (y < south) south = y;
      if (y > north) north = y;
    }
    const edge = Math.max(0.05, 0.04 * Math.max(east - west, north - south));
    return { west: west - edge, south: south - edge, east: east + edge, north: north + edge };
  }

  // A degree of longitude is as wide as it is in the middle of the map.
  function projection() {
    const squeeze = Math.cos((frame.south + frame.north) / 2 * Math.PI / 180);
    const scale = Math.min(canvas.width / ((frame.east - frame.west) * squeeze), canvas.height / (frame.north - frame.south));
    const left = (canvas.width - (frame.east - frame.west) * squeeze * scale) / 2;
    const top = (canvas.height - (frame.north - frame.south) * scale) / 2;
    return {
      x: (longitude) => left + (longitude - frame.west) * squeeze * scale,
      y: (latitude) => top + (frame.north - latitude) * scale,
      longitude: (x) => frame.west + (x - left) / (squeeze * scale),
      latitude: (y) => frame.north - (y - top) / scale,
    };
  }

  function rgb(text) {
    return [1, 3, 5].map((start) => parseInt(text.slice(start, start + 2), 16));
  }

  function draw() {
    const sharp = window.devicePixelRatio || 1;
    canvas.width = Math.round(canvas.clientWidth * sharp);
    canvas.height = Math.round(canvas.clientHeight * sharp);
    const context = canvas.getContext("2d");
    const style = getComputedStyle(document.body);
    const { x, y } = projection();
    context.fillStyle = style.getPropertyValue("--panel");
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.strokeStyle = style.getPropertyValue("--faint");
    context.lineWidth = sharp * 0.7;
    context.beginPath();
    for (const line of coast) {
      for (let i = 0; i < line.length; i += 2) {
        if (i) context.lineTo(x(line[i]), y(line[i + 1])); else context.moveTo(x(line[i]), y(line[i + 1]));
      }
    }
    context.stroke();
    const image = context.getImageData(0, 0, canvas.width, canvas.height);
    const colours = SPLITS.map(rgb);
    const none = rgb("#808890");
    let drawn = 0, without = 0;
    const few = store.rows < 20_000;
    const reach = few ? Math.max(1, Math.round(1.5 * sharp)) : sharp > 1 ? 1 : 0;
    for (let row = 0; row < places.length / 2; row++) {
      if (!(inside[row >> 3] >> (row & 7) & 1)) continue;
      const px = Math.round(x(places[2 * row])), py = Math.round(y(places[2 * row + 1]));
      if (!Number.isFinite(px)) { without++; continue; }
      drawn++;
      const colour = codes[row] === 255 ? none : colours[codes[row] % colours.length];
      for (let dy = -reach; dy <= reach; dy++) {
        for (let dx = -reach; dx <= reach; dx++) {
          const cx = px + dx, cy = py + dy;
          if (cx < 0 || cy < 0 || cx >= canvas.width || cy >= canvas.height) continue;
          image.data.set(colour, 4 * (cy * canvas.width + cx));
          image.data[4 * (cy * canvas.width + cx) + 3] = 255;
        }
      }
    }
    context.putImageData(image, 0, 0);
    const box = drag || state.box;
    if (box) {
      context.strokeStyle = style.getPropertyValue("--accent");
      context.lineWidth = 2 * sharp;
      context.strokeRect(x(box[0]), y(box[3]), x(box[2]) - x(box[0]), y(box[1]) - y(box[3]));
    }
    const names = split ? split.values.map((value, number) => {
      const dot = element("span", { class: "dot" });
      dot.style.cssText = "display:inline-block;width:9px;height:9px;border-radius:50%;margin:0 4px 0 10px";
      dot.style.background = SPLITS[number % SPLITS.length];
      return element("span", {}, dot, value);
    }) : [];
    help.replaceChildren(`${drawn.toLocaleString("en")} places` +
      (without ? `, ${without.toLocaleString("en")} patches without one` : "") +
      "; draw a box with the mouse to see only what is inside", ...names);
  }

  const position = (event) => {
    const box = canvas.getBoundingClientRect();
    const { longitude, latitude } = projection();
    return [longitude((event.clientX - box.left) * canvas.width / box.width),
      latitude((event.clientY - box.top) * canvas.height / box.height)];
  };
  let from = null;
  canvas.addEventListener("pointerdown", (event) => {
    from = position(event);
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!from) return;
    const to = position(event);
    drag = [Math.min(from[0], to[0]), Math.min(from[1], to[1]), Math.max(from[0], to[0]), Math.max(from[1], to[1])];
    requestAnimationFrame(draw);
  });
  canvas.addEventListener("pointerup", () => {
    const box = drag;
    from = drag = null;
    const { x, y } = projection();
    const wide = box && Math.abs(x(box[2]) - x(box[0])) > 4 && Math.abs(y(box[1]) - y(box[3])) > 4;
    change({ box: wide ? box.map((degrees) => Math.round(degrees * 1e5) / 1e5) : null });
  });
  new ResizeObserver(() => { if (places && inside && !canvas.parentElement.hidden) draw(); }).observe(canvas);

  return {
    async show(asked) {
      try {
        if (!places) await load();
        inside = new Uint8Array((await fetched("inside?f=" + asked, "bytes")).bytes);
        draw();
      } catch (error) { fail(error); }
    },
  };
}
