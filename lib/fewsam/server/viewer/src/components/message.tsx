/** What the panel says or asks, and the next thing to do. Its place is reserved, so that nothing below it jumps. */

import type { Given } from './buttons';

export function Message({ store }: Given) {
  const { text, kind, answers, serial } = store.message.value;
  const { hint } = store.guide.value;
  return (
    <>
      <div class={`message ${kind}`} id="fewsam-message" role="status">
        <div id="fewsam-text" key={serial}>
          {text}
        </div>
        <div class="fs-row" id="fewsam-answers">
          {answers.map(({ label, act }) => (
            <button key={label} onClick={act}>
              {label}
            </button>
          ))}
        </div>
      </div>
      <div class="faint" id="fewsam-hint">
        {hint && `Next: ${hint}`}
      </div>
    </>
  );
}
