// Hilbert's curve of order 10: the 1,048,576 prefixes of length 20 on a square of 1024 x 1024, so that neighbours in the
// address space are neighbours on the map, and every /8 is a square of 64 x 64. Pure.

export const SIDE = 1024;
export const CELLS = SIDE * SIDE;
export const BLOCK = 64;

// Where number `index` of the curve lies, as y * SIDE + x.
export function place(index) {
  let x = 0;
  let y = 0;
  let rest = index;
  for (let size = 1; size < SIDE; size *= 2) {
    const right = 1 & (rest >> 1);
    const down = 1 & (rest ^ right);
    if (down === 0) {
      if (right === 1) {
        x = size - 1 - x;
        y = size - 1 - y;
      }
      const swapped = x;
      x = y;
      y = swapped;
    }
    x += size * right;
    y += size * down;
    rest >>= 2;
  }
  return y * SIDE + x;
}

// The number of the curve at (x, y).
export function index(x, y) {
  let found = 0;
  let across = x;
  let below = y;
  for (let size = SIDE / 2; size > 0; size >>= 1) {
    const right = (across & size) > 0 ? 1 : 0;
    const down = (below & size) > 0 ? 1 : 0;
    found += size * size * ((3 * right) ^ down);
    if (down === 0) {
      if (right === 1) {
        across = SIDE - 1 - across;
        below = SIDE - 1 - below;
      }
      const swapped = across;
      across = below;
      below = swapped;
    }
  }
  return found;
}

// The upper left corner of a /8 by its first octet.
export function corner(octet) {
  const at = place(octet * BLOCK * BLOCK);
  return { x: Math.floor((at % SIDE) / BLOCK) * BLOCK, y: Math.floor(at / SIDE / BLOCK) * BLOCK };
}
