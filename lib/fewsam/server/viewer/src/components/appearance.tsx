/** How structures look in this browser, and what the colours of the strip mean; folded away most of the time. */

import { MARKS, STEPS } from '../model/scale';
import { Button, type Given } from './buttons';

export function Appearance({ store, acts, lab }: Given) {
  const look = store.look.value;
  return (
    <details id="fewsam-look">
      <summary>Appearance, 3D, colours of the strip</summary>
      <label class="fs-row">
        <span class="faint">opacity</span>
        <input
          type="range"
          id="fewsam-opacity"
          min="0"
          max="1"
          step="0.05"
          value={look.opacity}
          onInput={event => acts.dress({ opacity: Number(event.currentTarget.value) })}
        />
      </label>
      <label class="fs-row">
        <span class="faint">outline</span>
        <input
          type="range"
          id="fewsam-outline"
          min="0"
          max="6"
          step="1"
          value={look.outline}
          onInput={event => acts.dress({ outline: Number(event.currentTarget.value) })}
        />
      </label>
      <div class="fs-row">
        <Button {...{ store, acts, lab }} command="in3D" title="The structures as surfaces; drag to turn them">
          Show in 3D
        </Button>
      </div>
      <ul id="fewsam-legend" aria-label="Colours of the strip">
        <li class="faint">Expected Dice of a slice</li>
        {STEPS.map(({ colour, label }) => (
          <Entry key={label} {...{ colour, label }} />
        ))}
        {Object.values(MARKS).map(({ colour, label }) => (
          <Entry key={label} {...{ colour, label }} />
        ))}
      </ul>
    </details>
  );
}

function Entry({ colour, label }: { colour: string; label: string }) {
  return (
    <li>
      <span class="swatch" style={{ background: colour }} /> {label}
    </li>
  );
}
