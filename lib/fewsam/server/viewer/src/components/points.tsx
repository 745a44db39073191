/** Correct with points, scribbles and boxes. */

import { Button, type Given, ToolButton } from './buttons';

export function Points({ store, acts }: Given) {
  const given = { store, acts };
  return (
    <section aria-label="Correct">
      <h4>Correct</h4>
      <div class="fs-row">
        <ToolButton {...given} tool="include" title="A click adds what belongs to the chosen structure (A)">
          + Include
        </ToolButton>
        <ToolButton {...given} tool="exclude" title="A click takes away what does not belong to it (X)">
          − Exclude
        </ToolButton>
      </div>
      <div class="fs-row">
        <ToolButton {...given} tool="scribble" title="A line inside of what belongs to the chosen structure; with Alt, of what does not (W)">
          Scribble
        </ToolButton>
        <ToolButton {...given} tool="box" title="A box that holds the chosen structure; with Alt, one that holds none of it (Q)">
          Box
        </ToolButton>
        <button
          id="fewsam-propagate"
          class={store.propagate.value ? 'on' : ''}
          aria-pressed={store.propagate.value}
          title="Propagate what a prompt changes to the neighbouring slices, while it holds there. They are then drawn slices too: look at them before you submit."
          onClick={() => (store.propagate.value = !store.propagate.value)}
        >
          In 3D
        </button>
        <Button {...given} command="clear" title="Forget the points, scribbles and boxes; what they changed stays">
          Clear
        </Button>
      </div>
    </section>
  );
}
