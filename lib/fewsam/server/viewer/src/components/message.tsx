/** What the panel says or asks, and the next thing to do. Its place is reserved, so that nothing below it jumps. */

import { asksName } from '../lab';
import { count, inShort } from '../model/texts';
import type { Given } from './buttons';
import { Person } from './person';

export function Message(given: Given) {
  const { store, lab } = given;
  const { text, kind, answers, serial } = store.message.value;
  const { hint } = store.guide.value;
  const notes = store.problems.value.length;
  const named = !asksName(store.server.value, lab.name.value) && !lab.naming.value;
  const [short, more] = kind === 'asks' ? [text, ''] : inShort(text); // a question is shown in full
  return (
    <div id="fewsam-said">
      <div class={`message ${kind}`} id="fewsam-message" role="status">
        <div id="fewsam-text" key={serial}>
          {short}
          {more && (
            <details>
              <summary>More</summary>
              {more}
            </details>
          )}
        </div>
        <div class="fs-row" id="fewsam-answers">
          {answers.map(({ label, act }) => (
            <button key={label} onClick={act}>
              {label}
            </button>
          ))}
        </div>
      </div>
      <div class="fs-row" id="fewsam-below">
        {named ? <div id="fewsam-hint" title={hint}>{hint && `Next: ${hint}`}</div> : <Person {...given} />}
        {notes > 0 && (
          <button class="small" id="fewsam-noted" title="Go to what is odd or waits" onClick={toNotes}>
            {count(notes, 'note')} ↓
          </button>
        )}
        <button class="small" id="fewsam-keys" title="Keys (?)" aria-expanded={store.sheet.value} onClick={() => (store.sheet.value = !store.sheet.value)}>
          Keys
        </button>
      </div>
    </div>
  );
}

const toNotes = (): void => document.querySelector('#fewsam-problems')?.scrollIntoView();
