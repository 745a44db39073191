/** The page is closed, or left: what is drawn on it is kept in the browser, which asks first where that cannot be. */

import type { Opening } from './opening';

export class Closing {
  constructor(private opening: Pick<Opening, 'keep'>) {
    window.addEventListener('pagehide', this.hide);
    window.addEventListener('beforeunload', this.ask);
  }

  close(): void {
    window.removeEventListener('pagehide', this.hide);
    window.removeEventListener('beforeunload', this.ask);
  }

  private hide = (): void => void this.opening.keep(true);

  private ask = (event: BeforeUnloadEvent): void => {
    if (this.opening.keep()) return;
    event.preventDefault();
    event.returnValue = true; // by which earlier browsers ask
  };
}
