// A wall of thumbnails over any number of patches: only those in sight are asked for and drawn.
import { change, element, fail, fetched, asked, modalityNamed, state, thumbnail } from "./view.js";

const CAPTION = 38;  // pixels below a picture
const TALLEST = 8_000_000;  // browsers make no taller element: above, scrolling goes in larger steps
const PAGE = 200;  // rows of a request

export function makeWall(frame, sheet) {
  let count = 0, columns = 1, pages = new Map(), current = 0, drawn = new Map(), queued = false;

  const cell = () => ({ width: state.size + 8, height: state.size + 8 + CAPTION });
  const lines = () => Math.ceil(count / columns);
  const whole = () => lines() * cell().height;
  const scale = () => Math.max(1, (whole() - frame.clientHeight) / Math.max(1, TALLEST - frame.clientHeight));

  function rowsOf(page) {
    if (!pages.has(page)) {
      const wanted = fetched(`rows?f=${asked()}&start=${page * PAGE}&count=${PAGE}`);
      pages.set(page, wanted);
      wanted.catch(fail);
      for (const old of pages.keys()) {
        if (pages.size <= 40) break;
        pages.delete(old);
      }
    }
    return pages.get(page);
  }

  async function rowAt(position) {
    const rows = await rowsOf(Math.floor(position / PAGE));
    return rows[position % PAGE];
  }

  function draw() {
    queued = false;
    const { width, height } = cell();
    columns = Math.max(1, Math.floor((frame.clientWidth - 20) / width));
    sheet.style.height = Math.min(whole(), TALLEST) + "px";
    // Where the screen's upper edge is on the whole wall, and on the sheet that may be shorter.
    const top = frame.scrollTop * scale();
    const first = Math.max(0, Math.floor(top / height) - 1);
    const end = Math.min(lines(), Math.ceil((top + frame.clientHeight) / height) + 1);
    const seen = new Map();
    for (let position = first * columns; position < Math.min(count, end * columns); position++) {
      const tile = drawn.get(position) || makeTile(position);
      const y = Math.floor(position / columns) * height - top + frame.scrollTop;
      tile.style.transform = `translate(${10 + (position % columns) * width}px, ${y}px)`;
      tile.style.width = width + "px";
      tile.classList.toggle("current", position === current && document.activeElement === frame);
      seen.set(position, tile);
    }
    for (const [position, tile] of drawn) if (!seen.has(position)) tile.remove();
    for (const tile of seen.values()) if (!tile.isConnected) sheet.append(tile);
    drawn = seen;
  }

  function makeTile(position) {
    const tile = element("div", { class: "tile", "data-position": position,
      onclick: () => { current = position; open(position); } });
    const pages_ = pages;
    rowAt(position).then((row) => {
      if (!row || pages_ !== pages) return;
      const modality = modalityNamed(state.modality);
      tile.title = row.name;
      tile.dataset.row = row.row;
      let picture;
      if (row.has.includes(modality.name)) {
        picture = element("img", { src: thumbnail(modality, row.row), alt: row.name, decoding: "async",
          width: state.size, height: state.size });
      } else {
        picture = element("div", { class: "absent", text: `no ${modality.name}` });
        picture.style.height = state.size + "px";
      }
      tile.replaceChildren(picture, element("div", { class: "caption", text: caption(row) }));
    }).catch(() => { /* told by rowsOf */ });
    return tile;
  }

  function caption(row) {
    const { values } = row;
    return Object.values(values).flat().filter((value) => typeof value === "string").join(", ") || row.name;
  }

  function redraw() {
    if (!queued) { queued = true; requestAnimationFrame(draw); }
  }

  async function open(position) {
    const row = await rowAt(position).catch(fail);
    if (row) change({ row: row.row });
  }

  function reveal() {
    const { height } = cell();
    const y = Math.floor(current / columns) * height;
    const top = frame.scrollTop * scale();
    if (y < top) frame.scrollTop = y / scale();
    else if (y + height > top + frame.clientHeight) frame.scrollTop = (y + height - frame.clientHeight) / scale();
    redraw();
  }

  frame.addEventListener("scroll", redraw, { passive: true });
  frame.addEventListener("focus", redraw);
  frame.addEventListener("blur", redraw);
  frame.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns,
      Home: -count, End: count }[event.key];
    if (event.key === "Enter") { open(current); event.preventDefault(); return; }
    if (step === undefined) return;
    event.preventDefault();
    current = Math.max(0, Math.min(count - 1, current + step));
    reveal();
  });
  new ResizeObserver(redraw).observe(frame);

  return {
    show(selected, filtered) {
      count = selected;
      if (filtered) { pages = new Map(); current = 0; frame.scrollTop = 0; }
      for (const tile of drawn.values()) tile.remove();
      drawn = new Map();
      draw();
    },
    // The row that stands so many places beside another, for the arrows of an open patch.
    async beside(step) {
      const position = Math.max(0, Math.min(count - 1, current + step));
      current = position;
      return rowAt(position);
    },
  };
}
