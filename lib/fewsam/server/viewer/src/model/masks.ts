/** Operations on the mask of one structure on one slice: bytes of 0 and 1, row by row. */

export type Mask = Uint8Array;

/** Without holes: everything that the mask encloses is of it. */
export function filled(mask: Mask, width: number): Mask {
  const height = mask.length / width;
  const outside = new Uint8Array(mask.length);
  const stack: number[] = [];
  const visit = (at: number): void => {
    if (mask[at] || outside[at]) return;
    outside[at] = 1;
    stack.push(at);
  };
  for (let i = 0; i < width; i++) [i, (height - 1) * width + i].forEach(visit);
  for (let j = 0; j < height; j++) [j * width, j * width + width - 1].forEach(visit);
  while (stack.length) neighbours(stack.pop()!, width, height).forEach(visit);
  return outside.map(value => 1 - value);
}

const LEAST = 0.1; // of the largest part

/** Without parts that are smaller than a tenth of the largest one. */
export function withoutIslands(mask: Mask, width: number): Mask {
  const parts = components(mask, width);
  const largest = Math.max(0, ...parts.map(part => part.length));
  const result = new Uint8Array(mask.length);
  for (const part of parts) if (part.length >= LEAST * largest) part.forEach(at => (result[at] = 1));
  return result;
}

/** Connected parts of a mask, each as places of its pixels; pixels that share an edge are connected. */
export function components(mask: Mask, width: number): number[][] {
  const height = mask.length / width;
  const seen = new Uint8Array(mask.length);
  const parts: number[][] = [];
  for (let start = 0; start < mask.length; start++) {
    if (!mask[start] || seen[start]) continue;
    const part = [start];
    seen[start] = 1;
    for (let n = 0; n < part.length; n++) {
      for (const at of neighbours(part[n], width, height)) {
        if (!mask[at] || seen[at]) continue;
        seen[at] = 1;
        part.push(at);
      }
    }
    parts.push(part);
  }
  return parts;
}

/** With a smooth outline: a pixel is of it where most of its surroundings are. */
export function smoothed(mask: Mask, width: number, radius = 2): Mask {
  const once = blurred(Float32Array.from(mask), width, radius);
  return Uint8Array.from(blurred(once, width, radius), value => (value > 0.5 ? 1 : 0));
}

function blurred(values: Float32Array, width: number, radius: number): Float32Array {
  const height = values.length / width;
  const along = (from: Float32Array, count: number, step: number, lines: number, next: number): Float32Array => {
    const to = new Float32Array(from.length);
    for (let line = 0; line < lines; line++) {
      for (let n = 0; n < count; n++) {
        let sum = 0;
        // Beyond the edge of the slice it goes on as at the edge.
        for (let d = -radius; d <= radius; d++) sum += from[line * next + Math.max(0, Math.min(count - 1, n + d)) * step];
        to[line * next + n * step] = sum / (2 * radius + 1);
      }
    }
    return to;
  };
  return along(along(values, width, 1, height, width), height, width, width, 1);
}

/** The pixels inside a closed line through points (i, j): those whose centre it encloses, by the even-odd rule. */
export function polygon(points: [number, number][], width: number, height: number): Mask {
  const mask = new Uint8Array(width * height);
  for (let j = 0; j < height; j++) {
    const crossings: number[] = [];
    points.forEach(([i1, j1], n) => {
      const [i2, j2] = points[(n + 1) % points.length];
      if (j1 <= j !== j2 <= j) crossings.push(i1 + ((j - j1) / (j2 - j1)) * (i2 - i1));
    });
    crossings.sort((a, b) => a - b);
    for (let n = 0; n + 1 < crossings.length; n += 2) {
      const end = Math.min(width - 1, Math.floor(crossings[n + 1]));
      for (let i = Math.max(0, Math.ceil(crossings[n])); i <= end; i++) mask[j * width + i] = 1;
    }
  }
  return mask;
}

/** The mask between two others, ``share`` of the way from a to b: by their distances to the outline, laid one over the other. */
export function between(a: Mask, b: Mask, share: number, width: number): Mask {
  const [from, to] = [centre(a, width), centre(b, width)];
  const away = [to[0] - from[0], to[1] - from[1]];
  const [da, db] = [distances(a, width), distances(b, width)];
  const height = a.length / width;
  const result = new Uint8Array(a.length);
  for (let j = 0; j < height; j++) {
    for (let i = 0; i < width; i++) {
      const value = (1 - share) * at(da, i - share * away[0], j - share * away[1], width, height)
        + share * at(db, i + (1 - share) * away[0], j + (1 - share) * away[1], width, height);
      if (value > 0) result[j * width + i] = 1;
    }
  }
  return result;
}

/** Distance of each pixel to the outline, in pixels: above 0 inside, below 0 outside. */
export function distances(mask: Mask, width: number): Float32Array {
  const inside = squaredDistances(mask.map(value => 1 - value), width);
  const outside = squaredDistances(mask, width);
  return Float32Array.from(mask, (value, n) => (value ? Math.sqrt(inside[n]) - 0.5 : 0.5 - Math.sqrt(outside[n])));
}

const FAR = 1e12;

/** Squared distance of each pixel to the nearest one of the mask (Felzenszwalb and Huttenlocher, 2012). */
function squaredDistances(mask: Mask, width: number): Float64Array {
  const height = mask.length / width;
  const values = Float64Array.from(mask, value => (value ? 0 : FAR));
  for (let i = 0; i < width; i++) lowerEnvelope(values, i, width, height);
  for (let j = 0; j < height; j++) lowerEnvelope(values, j * width, 1, width);
  return values;
}

function lowerEnvelope(values: Float64Array, start: number, step: number, count: number): void {
  const f = Float64Array.from({ length: count }, (_, n) => values[start + n * step]);
  const [vertex, bound] = [new Int32Array(count), new Float64Array(count + 1)];
  let k = 0;
  bound[0] = -Infinity;
  bound[1] = Infinity;
  for (let q = 1; q < count; q++) {
    const meet = (): number => (f[q] + q * q - f[vertex[k]] - vertex[k] * vertex[k]) / (2 * q - 2 * vertex[k]);
    let s = meet();
    while (s <= bound[k]) {
      k--;
      s = meet();
    }
    vertex[++k] = q;
    bound[k] = s;
    bound[k + 1] = Infinity;
  }
  k = 0;
  for (let q = 0; q < count; q++) {
    while (bound[k + 1] < q) k++;
    values[start + q * step] = (q - vertex[k]) ** 2 + f[vertex[k]];
  }
}

function centre(mask: Mask, width: number): [number, number] {
  let [i, j, n] = [0, 0, 0];
  mask.forEach((value, at) => {
    if (!value) return;
    i += at % width;
    j += Math.floor(at / width);
    n++;
  });
  return n ? [i / n, j / n] : [0, 0];
}

/** A field between its pixels; beyond the edge as at the edge. */
function at(field: Float32Array, i: number, j: number, width: number, height: number): number {
  const [x, y] = [Math.max(0, Math.min(width - 1, i)), Math.max(0, Math.min(height - 1, j))];
  const [i0, j0] = [Math.floor(x), Math.floor(y)];
  const [i1, j1] = [Math.min(i0 + 1, width - 1), Math.min(j0 + 1, height - 1)];
  const [u, v] = [x - i0, y - j0];
  const row = (n: number): number => (1 - u) * field[n * width + i0] + u * field[n * width + i1];
  return (1 - v) * row(j0) + v * row(j1);
}

function neighbours(place: number, width: number, height: number): number[] {
  const [i, j] = [place % width, Math.floor(place / width)];
  const found: number[] = [];
  if (i > 0) found.push(place - 1);
  if (i < width - 1) found.push(place + 1);
  if (j > 0) found.push(place - width);
  if (j < height - 1) found.push(place + width);
  return found;
}
