/** Buttons that know whether they can be used now, and say why not. */

import type { ComponentChildren } from 'preact';
import type { Acts, Command, Tool } from '../commands';
import type { Lab } from '../lab';
import type { Store } from '../store';

/** What every part of the panel is given. */
export interface Given {
  store: Store;
  acts: Acts;
  lab: Lab;
}

interface Labelled extends Pick<Given, 'store' | 'acts'> {
  /** What it does, where it can be used. */
  title?: string;
  children: ComponentChildren;
}

/** Starts a command; stands out where that is the next thing to do. */
export function Button({ store, acts, command, title, children }: Labelled & { command: Command }) {
  const { highlight, blocked } = store.guide.value;
  return (
    <button
      id={`fewsam-${command}`}
      class={highlight === command && !(command in blocked) ? 'main' : ''}
      disabled={command in blocked}
      title={blocked[command] ?? title ?? ''}
      onClick={() => acts.press(command)}
    >
      {children}
    </button>
  );
}

/** Takes a tool in hand, or puts it away. */
export function ToolButton({ store, acts, tool, title, children }: Labelled & { tool: Tool }) {
  const { highlight, blocked } = store.guide.value;
  const inHand = store.tool.value === tool;
  return (
    <button
      id={`fewsam-${tool}`}
      class={`${highlight === tool && !(tool in blocked) ? 'main' : ''} ${inHand ? 'on' : ''}`}
      aria-pressed={inHand}
      disabled={tool in blocked}
      title={blocked[tool] ?? title ?? ''}
      onClick={() => acts.pick(tool)}
    >
      {children}
    </button>
  );
}

/** A small button that asks the server: it waits, as all others do, while something else is done. */
export function BusyButton({ store, name = '', title = '', act, children }: { store: Store; name?: string; title?: string; act: () => void; children: ComponentChildren }) {
  const busy = store.busy.value;
  return (
    <button class={`small ${name}`} disabled={busy !== ''} title={busy ? `${busy} …` : title} onClick={act}>
      {children}
    </button>
  );
}
