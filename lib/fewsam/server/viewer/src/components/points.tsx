/** Correct with clicked points. */

import { Button, type Given, ToolButton } from './buttons';

export function Points({ store, acts }: Given) {
  const given = { store, acts };
  return (
    <section aria-label="Correct with points">
      <h4>Correct with points</h4>
      <div class="fs-row">
        <ToolButton {...given} tool="include" title="A click adds what belongs to the chosen structure (A)">
          + Include
        </ToolButton>
        <ToolButton {...given} tool="exclude" title="A click takes away what does not belong to it (X)">
          − Exclude
        </ToolButton>
        <Button {...given} command="clear" title="Forget the points; what they changed stays">
          Clear points
        </Button>
      </div>
    </section>
  );
}
