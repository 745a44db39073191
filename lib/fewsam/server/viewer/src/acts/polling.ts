/** The looks at the server, one after the other, until the panel is closed. */

import type { Desk } from './desk';

export class Polling {
  private lost = false; // the server does not answer
  private timer = 0;
  private closed = false; // also while a look is under way: no timer stands then that could be cleared

  constructor(
    private desk: Desk,
    private steps: (() => Promise<void>)[],
  ) {}

  async look(): Promise<void> {
    const { store } = this.desk;
    try {
      for (const step of this.steps) {
        await step();
        if (this.closed) return;
      }
      this.desk.map?.session.keep(); // says that this page is alive
      if (this.lost) this.desk.say('The server is back.', 'good');
      this.lost = false;
    } catch (error) {
      if (this.closed) return;
      this.lost = true;
      this.desk.say((error as Error).message, 'bad');
    }
    this.timer = window.setTimeout(() => void this.look(), store.training.value ? 800 : 2500);
  }

  close(): void {
    this.closed = true;
    window.clearTimeout(this.timer);
  }
}
