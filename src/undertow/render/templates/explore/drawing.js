// SVG by hand: every picture is drawn again, in the pixels it has, whenever something moves.
const INK = "var(--ink)", MUTED = "var(--muted)", FAINT = "var(--faint)", FADING = "#2166a5", GROWING = "#b4540a";
const DIVERGING = [[19, 67, 116], [74, 137, 189], [176, 206, 228], [250, 249, 247], [247, 204, 160], [222, 136, 58], [150, 66, 4]];

const svg = (name, attributes, inside = "") => {
  const written = Object.entries(attributes).map(([key, value]) =>
    ` ${key}="${typeof value === "number" ? Math.round(value * 100) / 100 : value}"`);
  return `<${name}${written.join("")}>${inside}</${name}>`;
};
const line = (x1, y1, x2, y2, more) => svg("line", { x1, y1, x2, y2, stroke: FAINT, ...more });
const text = (x, y, label, more) => svg("text", { x, y, fill: MUTED, ...more }, label);

const scale = (from, to, start, end, bend = (v) => v) => {
  const low = bend(from), high = bend(to);
  return (value) => start + ((bend(value) - low) / (high - low)) * (end - start);
};
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

// t from -1 (blue: less) by 0 (paper) to 1 (orange: more)
const diverging = (t) => {
  const place = ((clamp(t, -1, 1) + 1) / 2) * (DIVERGING.length - 1);
  const k = Math.min(Math.floor(place), DIVERGING.length - 2), share = place - k;
  return DIVERGING[k].map((c, i) => Math.round(c + (DIVERGING[k + 1][i] - c) * share));
};

const powersOfTen = (low, high, most = 6) => {
  const stride = Math.max(1, Math.ceil((high - low) / most));
  return Array.from({ length: high - low + 1 }, (_, k) => low + k).filter((k) => k % stride === 0);
};
const power = (k) => (k === 0 ? "1" : k === 1 ? "10" : `10${raised(k)}`);

// A field of colours as an image: the browser smooths between its pixels.
const painted = (columns, rows, value) => {
  const canvas = document.createElement("canvas");
  canvas.width = columns;
  canvas.height = rows;
  const context = canvas.getContext("2d"), image = context.createImageData(columns, rows);
  for (let r = 0, p = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++, p += 4) {
      image.data.set([...diverging(value(c, r)), 255], p);
    }
  }
  context.putImageData(image, 0, 0);
  return canvas.toDataURL();
};

const show = (picture, width, height, parts) => {
  picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
  picture.innerHTML = parts.join("");
};
const widthOf = (picture) => Math.max(280, Math.round(picture.parentElement.clientWidth));

// Press, or press and drag: where, in the picture's own pixels.
const onPoint = (picture, moved) => {
  const at = (event) => {
    const box = picture.getBoundingClientRect(), view = picture.viewBox.baseVal;
    moved(((event.clientX - box.left) / box.width) * view.width, ((event.clientY - box.top) / box.height) * view.height);
  };
  picture.addEventListener("pointerdown", (event) => {
    picture.setPointerCapture(event.pointerId);
    at(event);
  });
  picture.addEventListener("pointermove", (event) => event.buttons && at(event));
};
