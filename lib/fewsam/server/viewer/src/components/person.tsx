/** Who draws: asked once where the server does not know it, since each label bears a name. */

import { asksName } from '../lab';
import type { Given } from './buttons';
import { TextInput } from './textinput';

export function Person({ store, acts, lab }: Given) {
  const known = store.server.value?.person ?? '';
  const asks = asksName(store.server.value, lab.name.value);
  if (!asks && !lab.naming.value) return null;
  return (
    <div id="fewsam-person">
      <div class="fs-row">
        <TextInput
          id="fewsam-who"
          label="Your name"
          value={lab.typed.value}
          input={text => (lab.typed.value = text)}
          enter={() => acts.lab.name()}
        />
        <button id="fewsam-named" disabled={!lab.typed.value.trim()} onClick={() => acts.lab.name()}>
          That is me
        </button>
      </div>
      <div class="faint">{known ? `So far: ${known}.` : 'It is stored with each label that you submit.'}</div>
    </div>
  );
}
