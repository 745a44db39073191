/** Slices that two people labelled, with the Dice of the two, and a reviewer's choice between them. */

import type { ReadSlice, Reading } from '../lab';
import { numbering } from '../model/texts';
import { BusyButton, type Given } from './buttons';

export function Readings(given: Given) {
  const read = given.lab.readings.value;
  if (!read.length) return null;
  return (
    <div id="fewsam-readings">
      <h4>Labelled by two people</h4>
      {read.flatMap(slice => slice.readings.map(reading => <Row key={reading.reading} {...given} {...{ slice, reading }} />))}
    </div>
  );
}

function Row({ store, acts, lab, slice, reading }: Given & { slice: ReadSlice; reading: Reading }) {
  const who = reading.annotator || 'somebody';
  const force = slice.in_force?.annotator || 'somebody';
  const dice = Object.entries(reading.dice).map(([name, value]) => `${name} ${value === null ? '-' : value.toFixed(2)}`);
  return (
    <div class="reading">
      <span>
        {`Slice ${numbering.of(slice.slice)}: ${force} (in force) and ${who}`}
        <span class="faint">{dice.length ? ` Dice: ${dice.join(', ')}` : ''}</span>
      </span>
      <BusyButton store={store} title={`Go to the slice and show what ${who} drew; Undo takes it away`} act={() => acts.lab.show(slice, reading)}>
        Show
      </BusyButton>
      {lab.worklist.value?.can_review && (
        <BusyButton store={store} name="adopt" title={`Make what ${who} drew the label; that of ${force} stays in the history`} act={() => acts.lab.adopt(slice, reading)}>
          Put in force
        </BusyButton>
      )}
    </div>
  );
}
