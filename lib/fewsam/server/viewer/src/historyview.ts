/** What the slice on the screen was labelled as, by whom and when, newest first. */

import { Shot } from './api';

interface Acts {
  history: (act: 'restore' | 'unlabel', shot: Shot) => void;
}

export class HistoryView {
  private shown = '';

  constructor(
    private root: HTMLElement,
    private acts: Acts,
  ) {}

  show(slice: number, shots: Shot[]): void {
    const text = JSON.stringify([slice, shots]);
    if (text === this.shown) return;
    this.shown = text;
    this.root.querySelector('#fewsam-slice')!.textContent = String(slice);
    const list = this.root.querySelector('#fewsam-shots')!;
    if (!shots.length) list.textContent = 'Nobody has labelled this slice.';
    else list.replaceChildren(...shots.map(shot => this.row(shot)));
  }

  private row(shot: Shot): HTMLElement {
    const row = document.createElement('div');
    row.className = 'shot';
    const what = shot.withdrawn ? 'label taken back' : shot.structures.join(', ') || 'nothing is there';
    const text = document.createElement('span');
    text.textContent = `${new Date(shot.time).toLocaleString()}, ${shot.annotator || 'somebody'}: ${what}`;
    text.title = shot.source;
    row.append(text);
    if (shot.current && !shot.withdrawn) row.append(this.button('unlabel', 'Un-label', shot));
    if (!shot.current && !shot.withdrawn) row.append(this.button('restore', 'Restore', shot));
    return row;
  }

  private button(act: 'restore' | 'unlabel', text: string, shot: Shot): HTMLElement {
    const button = document.createElement('button');
    button.className = `small ${act}`;
    button.textContent = text;
    button.addEventListener('click', () => this.acts.history(act, shot));
    return button;
  }
}
