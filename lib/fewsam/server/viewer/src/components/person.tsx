/** Who draws: asked once where the server does not know it, since each label bears a name. It stands where the next thing to do
 * stands otherwise, so that nothing below it moves once it is answered. */

import type { Given } from './buttons';
import { TextInput } from './textinput';

export function Person({ store, acts, lab }: Given) {
  const known = store.server.value?.person ?? '';
  const why = 'Your name is stored with each label that you submit.';
  return (
    <div id="fewsam-person" title={known ? `${why} So far: ${known}.` : why}>
      <TextInput
        id="fewsam-who"
        label="Your name"
        value={lab.typed.value}
        input={text => (lab.typed.value = text)}
        enter={() => acts.lab.name()}
        select={lab.naming.value}
      />
      <button id="fewsam-named" class="small" disabled={!lab.typed.value.trim()} onClick={() => acts.lab.name()}>
        That is me
      </button>
    </div>
  );
}
