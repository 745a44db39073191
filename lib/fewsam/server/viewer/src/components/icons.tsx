/** Small drawings on buttons: fonts of symbols differ from machine to machine. */

const PATHS = {
  shown: 'M1 8s2.6-4.5 7-4.5S15 8 15 8s-2.6 4.5-7 4.5S1 8 1 8z M8 6a2 2 0 1 0 0 4a2 2 0 1 0 0-4z',
  hidden: 'M1 8s2.6-4.5 7-4.5S15 8 15 8s-2.6 4.5-7 4.5S1 8 1 8z M2.5 14L13.5 2',
  locked: 'M3.5 7.5h9v6h-9z M5.5 7.5V5a2.5 2.5 0 0 1 5 0v2.5',
  unlocked: 'M3.5 7.5h9v6h-9z M5.5 7.5V4a2.5 2.5 0 0 1 4.8-1',
  rename: 'M3 13l.6-2.8L11 2.8l2.2 2.2L5.8 12.4z M9.6 4.2l2.2 2.2',
  delete: 'M3.5 3.5l9 9 M12.5 3.5l-9 9',
};

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg viewBox="0 0 16 16" width="13" height="13" aria-hidden="true">
      <path d={PATHS[name]} fill="none" stroke="currentColor" stroke-width="1.4" stroke-linejoin="round" stroke-linecap="round" />
    </svg>
  );
}
