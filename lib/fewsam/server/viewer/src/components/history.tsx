/** What the slice on the screen was labelled as, by whom and when, newest first. */

import type { Shot } from '../api';
import { numbering } from '../model/texts';
import { BusyButton, type Given } from './buttons';

export function History({ store, acts }: Given) {
  const [open, shots] = [store.open.value, store.history.value];
  return (
    <details id="fewsam-history" onToggle={event => acts.trace(event.currentTarget.open)}>
      <summary>
        History of slice <span id="fewsam-slice">{open ? numbering.of(open.slice) : ''}</span>
      </summary>
      <div id="fewsam-shots">
        {shots.length ? shots.map(shot => <Row key={shot.shot} {...{ store, acts, shot }} />) : 'Nobody has labelled this slice.'}
      </div>
    </details>
  );
}

function Row({ store, acts, shot }: Pick<Given, 'store' | 'acts'> & { shot: Shot }) {
  const what = shot.withdrawn ? 'label taken back' : shot.structures.join(', ') || 'nothing is there';
  const [act, text] = shot.current ? (['unlabel', 'Un-label'] as const) : (['restore', 'Restore'] as const);
  return (
    <div class="shot">
      <span title={shot.source}>{`${new Date(shot.time).toLocaleString()}, ${shot.annotator || 'somebody'}: ${what}`}</span>
      {!shot.withdrawn && (
        <BusyButton store={store} name={act} act={() => acts.history(act, shot)}>
          {text}
        </BusyButton>
      )}
    </div>
  );
}
