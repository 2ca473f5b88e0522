// Slices: the grid is (frame, z, y, x) of bytes; z runs from base to apex, x and y as on the screen.
async function decodedVolume() {
  const { size, depth, across, atlas_bytes } = facts, area = size * size;
  const all = bytesOf("images"), volume = new Uint8Array(atlas_bytes.length * depth * area);
  const canvas = document.createElement("canvas");
  canvas.width = across * size;
  canvas.height = Math.ceil(depth / across) * size;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  let from = 0;
  for (let t = 0; t < atlas_bytes.length; t++) {
    const picture = await createImageBitmap(new Blob([all.subarray(from, from + atlas_bytes[t])], { type: "image/webp" }));
    from += atlas_bytes[t];
    context.drawImage(picture, 0, 0);
    picture.close();
    const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
    for (let z = 0; z < depth; z++) {
      const left = (z % across) * size, top = Math.floor(z / across) * size, to = (t * depth + z) * area;
      for (let y = 0; y < size; y++) {
        const row = ((top + y) * canvas.width + left) * 4;
        for (let x = 0; x < size; x++) volume[to + y * size + x] = pixels[row + 4 * x];
      }
    }
  }
  return volume;
}

class Planes {
  constructor(volume, labels) {
    const { size, depth, pixel_mm, slice_mm } = facts;
    this.volume = volume;
    this.labels = labels;
    const across = size * pixel_mm, along = depth * slice_mm;
    // start of the plane in the volume, then the step of a column and of a row
    this.views = [
      { id: "short", width: size, height: size, mm: [across, across], start: (s) => s.slice * size * size, steps: [1, size],
        lines: (s) => [(s.x + 0.5) / size, (s.y + 0.5) / size], soft: true },
      { id: "long-y", width: size, height: depth, mm: [across, along], start: (s) => s.x, steps: [size, size * size],
        lines: (s) => [(s.y + 0.5) / size, (s.slice + 0.5) / depth] },
      { id: "long-x", width: size, height: depth, mm: [across, along], start: (s) => s.y * size, steps: [1, size * size],
        lines: (s) => [(s.x + 0.5) / size, (s.slice + 0.5) / depth] },
    ];
    for (const view of this.views) {
      view.canvas = byId(view.id);
      view.small = document.createElement("canvas");
      view.small.width = view.width;
      view.small.height = view.height;
      view.image = new ImageData(view.width, view.height);
      view.image.data.fill(255);
      view.values = new Uint8Array(view.width * view.height);
    }
  }

  read(source, view, state) {
    const { size, depth } = facts, [dx, dy] = view.steps;
    const from = state.frame * depth * size * size + view.start(state);
    for (let y = 0, i = 0; y < view.height; y++)
      for (let x = 0, at = from + y * dy; x < view.width; x++, at += dx) view.values[i++] = source[at];
    return view.values;
  }

  // Where the plane lies on its canvas, device pixels: as large as fits, in true proportion.
  place(view) {
    const ratio = window.devicePixelRatio || 1, canvas = view.canvas;
    const width = Math.round(canvas.clientWidth * ratio), height = Math.round(canvas.clientHeight * ratio);
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    const scale = Math.min(width / view.mm[0], height / view.mm[1]);
    const [w, h] = [view.mm[0] * scale, view.mm[1] * scale];
    return { left: (width - w) / 2, top: (height - h) / 2, width: w, height: h, ratio };
  }

  draw(state) {
    const black = state.level - state.window / 2, gain = 255 / state.window;
    for (const view of this.views) {
      const box = this.place(view), context = view.canvas.getContext("2d"), pixels = view.image.data;
      const values = this.read(this.volume, view, state);
      for (let i = 0; i < values.length; i++) {
        pixels[4 * i] = pixels[4 * i + 1] = pixels[4 * i + 2] = (values[i] - black) * gain;
      }
      view.small.getContext("2d").putImageData(view.image, 0, 0);
      context.imageSmoothingEnabled = true;
      context.imageSmoothingQuality = "high";
      context.fillRect(0, 0, view.canvas.width, view.canvas.height);
      context.drawImage(view.small, box.left, box.top, box.width, box.height);
      if (this.labels && state.outlines) this.outline(context, view, box, state);
      this.lines(context, view, box, state);
      context.fillStyle = "#ffb454";
      context.font = `600 ${Math.round(10 * box.ratio)}px system-ui, sans-serif`;
      context.fillText(view.soft ? facts.mark : "SYNTHETIC", 6 * box.ratio, view.canvas.height - 6 * box.ratio);
      context.fillStyle = "#000";
    }
  }

  lines(context, view, box, state) {
    const [x, y] = view.lines(state);
    context.strokeStyle = "rgba(255, 255, 255, 0.35)";
    context.lineWidth = box.ratio;
    context.setLineDash([4 * box.ratio, 5 * box.ratio]);
    context.beginPath();
    context.moveTo(box.left + x * box.width, box.top);
    context.lineTo(box.left + x * box.width, box.top + box.height);
    context.moveTo(box.left, box.top + y * box.height);
    context.lineTo(box.left + box.width, box.top + y * box.height);
    context.stroke();
    context.setLineDash([]);
  }

  outline(context, view, box, state) {
    const labels = this.read(this.labels, view, state);
    context.lineWidth = 1.5 * box.ratio;
    const finer = view.soft ? 1 : FINER, height = (view.height - 1) * finer + 1;
    const sx = box.width / view.width, sy = box.height / view.height / finer;
    for (const [codes, colour] of facts.contours) {
      let mask = Float32Array.from(labels, (code) => (codes.includes(code) ? 1 : 0));
      mask = view.soft ? blurred(blurred(mask, view.width), view.width) : between(mask, view.width, view.height);
      context.strokeStyle = colour;
      context.beginPath();
      for (const [ax, ay, bx, by] of contour(mask, view.width, height)) {
        context.moveTo(box.left + (ax + 0.5) * sx, box.top + (ay + 0.5 * finer) * sy);
        context.lineTo(box.left + (bx + 0.5) * sx, box.top + (by + 0.5 * finer) * sy);
      }
      context.stroke();
    }
  }

  shortPoint(x, y) {
    const view = this.views[0], box = this.place(view), size = facts.size;
    const at = (value, low, length) => clamped(Math.floor((value * box.ratio - low) / length * size), 0, size - 1);
    return [at(x, box.left, box.width), at(y, box.top, box.height)];
  }

  longSlice(id, y) {
    const box = this.place(this.views.find((view) => view.id === id));
    return clamped(Math.floor((y * box.ratio - box.top) / box.height * facts.depth), 0, facts.depth - 1);
  }
}

// Three-point means along rows and columns of a square: hides the steps of a hard mask.
function blurred(mask, n) {
  const across = new Float32Array(mask.length), out = new Float32Array(mask.length);
  for (let i = 1; i < mask.length - 1; i++) across[i] = (mask[i - 1] + mask[i] + mask[i + 1]) / 3;
  for (let i = n; i < mask.length - n; i++) out[i] = (across[i - n] + across[i] + across[i + n]) / 3;
  return out;
}

// Rows between those of a mask whose rows are slices: how far each pixel is from the row's nearest edge is carried from
// slice to slice by a smooth curve, so that the outline slopes as the wall does instead of stepping.
const FINER = 6;

function between(mask, width, height) {
  const most = facts.slice_mm / facts.pixel_mm, away = signedDistances(mask, width, most);
  const out = new Float32Array(width * ((height - 1) * FINER + 1));
  for (let row = 0; row * width < out.length; row++) {
    const z = Math.min(Math.floor(row / FINER), height - 2), t = row / FINER - z;
    const weights = [((2 - t) * t - 1) * t / 2, ((3 * t - 5) * t * t + 2) / 2, ((4 - 3 * t) * t + 1) * t / 2, (t - 1) * t * t / 2];
    for (let step = 0; step < 4; step++) {
      const from = clamped(z + step - 1, 0, height - 1) * width;
      for (let x = 0; x < width; x++) out[row * width + x] += weights[step] * away[from + x];
    }
  }
  return out.map((value) => 0.5 + value / (2 * most));
}

// Pixels to the nearest edge in the same row, positive inside, at most so many either way.
function signedDistances(mask, width, most) {
  const away = new Float32Array(mask.length);
  for (let from = 0; from < mask.length; from += width)
    for (const [first, step] of [[0, 1], [width - 1, -1]]) {
      let since = most;
      for (let n = 0, at = from + first; n < width; n++, at += step) {
        since = n && mask[at] !== mask[at - step] ? 0.5 : Math.min(since + 1, most);
        away[at] = (mask[at] ? 1 : -1) * Math.min(since, step === 1 ? most : Math.abs(away[at]));
      }
    }
  return away;
}

// Marching squares at one half: the pairs of sides that a cell's line joins, by which corners lie inside.
const SIDES = [[], [[3, 2]], [[2, 1]], [[3, 1]], [[1, 0]], [[3, 0], [1, 2]], [[2, 0]], [[3, 0]],
  [[0, 3]], [[0, 2]], [[0, 1], [2, 3]], [[0, 1]], [[1, 3]], [[1, 2]], [[2, 3]], []];

function* contour(mask, width, height) {
  const cut = (a, b) => (0.5 - a) / (b - a);
  for (let y = 0; y < height - 1; y++)
    for (let x = 0; x < width - 1; x++) {
      const i = y * width + x, a = mask[i], b = mask[i + 1], c = mask[i + width + 1], d = mask[i + width];
      const inside = (a > 0.5 ? 8 : 0) | (b > 0.5 ? 4 : 0) | (c > 0.5 ? 2 : 0) | (d > 0.5 ? 1 : 0);
      for (const pair of SIDES[inside])
        yield pair.flatMap((side) => side === 0 ? [x + cut(a, b), y] : side === 1 ? [x + 1, y + cut(b, c)]
          : side === 2 ? [x + cut(d, c), y + 1] : [x, y + cut(a, d)]);
    }
}
