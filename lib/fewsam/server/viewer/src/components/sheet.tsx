/** The sheet of keys. */

import { SHEET } from '../model/keys';
import type { Given } from './buttons';

export function Sheet({ store }: Given) {
  if (!store.sheet.value) return null;
  return (
    <div id="fewsam-sheet" role="dialog" aria-label="Keys" onClick={() => (store.sheet.value = false)}>
      {SHEET.map(({ title, rows }) => (
        <section key={title}>
          <h4>{title}</h4>
          <dl>
            {rows.map(([keys, what]) => (
              <div key={keys}>
                <dt>{keys}</dt>
                <dd>{what}</dd>
              </div>
            ))}
          </dl>
        </section>
      ))}
      <p class="faint">Press ? or Escape to close. All other keys are the viewer's own.</p>
    </div>
  );
}
