/** Where the keys belong to a field. */

/** Whether a key on this element is typed into it. */
export function typing(target: EventTarget | null): boolean {
  if (target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement) return true;
  if (target instanceof HTMLInputElement) return !['range', 'checkbox', 'radio', 'button', 'color'].includes(target.type);
  return target instanceof HTMLElement && target.isContentEditable;
}
