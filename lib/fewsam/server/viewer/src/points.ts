/** What a click on a slice changes. */

/** The slice with the clicks' change to one class; the server gives the mask with the clicks, and without. */
export function corrected(slice: Uint8Array, planes: Uint8Array, value: number): Uint8Array {
  const result = slice.slice();
  const drawn = slice.includes(value);
  for (let at = 0; at < slice.length; at++) {
    const [now, before] = [planes[at], planes[slice.length + at]];
    // Where the class is shown already only what the clicks change is changed: strokes by hand stay.
    if (drawn && now === before) continue;
    if (now) result[at] = value;
    else if (slice[at] === value) result[at] = 0;
  }
  return result;
}
