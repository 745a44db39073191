/** The list of structures: choose one, rename it, delete it, add one, and name a segment that has no name yet. */

import { useSignal } from '@preact/signals';
import { colourOf, hex, toggled, unhex } from '../model/look';
import type { Structure } from '../model/structures';
import { Button, type Given } from './buttons';
import { Icon, type IconName } from './icons';
import { TextInput } from './textinput';

export function StructureList({ store, acts }: Given) {
  const editing = useSignal(0); // voxel value of the structure whose name is being typed
  const counts = store.server.value?.image?.counts ?? {};
  return (
    <>
      <h4>
        Structures <span class="faint">labelled slices: here / all</span>
      </h4>
      <div id="fewsam-classes">
        {store.structures.value.map(one => (
          <Row
            key={one.value}
            {...{ store, acts, one }}
            here={counts[one.name] ?? 0}
            editing={editing.value === one.value}
            edit={wanted => (editing.value = wanted ? one.value : 0)}
          />
        ))}
      </div>
      {store.server.value?.new_labels && (
        <div class="fs-row" id="fewsam-new">
          <TextInput
            id="fewsam-name"
            label="new structure"
            value={store.typed.value}
            input={text => (store.typed.value = text)}
            enter={() => acts.press('add')}
          />
          <Button {...{ store, acts }} command="add">
            Add
          </Button>
        </div>
      )}
    </>
  );
}

interface RowGiven extends Pick<Given, 'store' | 'acts'> {
  one: Structure;
  here: number; // labelled slices of the open series
  editing: boolean;
  edit: (wanted: boolean) => void;
}

function Row({ store, acts, one, here, editing, edit }: RowGiven) {
  const chosen = store.chosen.value === one.value;
  const look = store.look.value;
  const [hidden, locked] = [look.hidden.includes(one.value), look.locked.includes(one.value)];
  return (
    <div class={`class ${chosen ? 'on' : ''}`} data-name={one.name} onMouseDown={() => acts.choose(one.value)}>
      <Swatch {...{ store, acts, one }} />
      {!one.id || editing ? (
        <NewName {...{ acts, one, edit }} />
      ) : (
        <>
          <button class="name" title={one.name} aria-pressed={chosen} onClick={() => acts.choose(one.value)}>
            {one.name}
          </button>
          <span class="count">{`${here} / ${one.slices}`}</span>
          {store.server.value?.new_labels && (
            <span class="tools">
              <Small kind="rename" icon="rename" title={`Rename ${one.name}`} act={() => edit(true)} />
              <Small kind="delete" icon="delete" title={`Delete ${one.name}; its labels stay in the history`} act={() => acts.remove(one)} />
            </span>
          )}
          <Small
            kind={hidden ? 'see set' : 'see'}
            icon={hidden ? 'hidden' : 'shown'}
            title={hidden ? `Show ${one.name}` : `Hide ${one.name}`}
            act={() => acts.dress({ hidden: toggled(look.hidden, one.value) })}
          />
          <Small
            kind={locked ? 'lock set' : 'lock'}
            icon={locked ? 'locked' : 'unlocked'}
            title={locked ? `Unlock ${one.name}` : `Lock ${one.name}: drawing another structure does not change it`}
            act={() => acts.dress({ locked: toggled(look.locked, one.value) })}
          />
        </>
      )}
    </div>
  );
}

/** The structure's colour, and another one for this browser. */
function Swatch({ store, acts, one }: Pick<Given, 'store' | 'acts'> & { one: Structure }) {
  const look = store.look.value;
  const change = (event: Event): void => {
    const colour = unhex((event.currentTarget as HTMLInputElement).value);
    acts.dress({ colours: { ...look.colours, [one.id]: colour } });
  };
  const label = `Colour of ${one.name}`;
  return <input type="color" class="swatch" aria-label={label} title={label} disabled={!one.id} value={hex(colourOf(look, one))} onChange={change} />;
}

function NewName({ acts, one, edit }: Pick<RowGiven, 'acts' | 'one' | 'edit'>) {
  const typed = useSignal(one.id ? one.name : '');
  const enter = (): void => {
    if (!typed.value.trim()) return;
    acts.rename(one, typed.value.trim());
    edit(false);
  };
  const label = one.id ? one.name : `name ${one.name}`;
  return <TextInput label={label} value={typed.value} input={text => (typed.value = text)} enter={enter} escape={() => edit(false)} select={Boolean(one.id)} />;
}

function Small({ kind, icon, title, act }: { kind: string; icon: IconName; title: string; act: () => void }) {
  return (
    <button class={`small ${kind}`} title={title} aria-label={title} onMouseDown={event => event.stopPropagation()} onClick={act}>
      <Icon name={icon} />
    </button>
  );
}
