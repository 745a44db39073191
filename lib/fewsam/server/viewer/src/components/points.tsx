/** Correct with clicked points. */

import { Button, type Given, ToolButton } from './buttons';

export function Points({ store, acts }: Given) {
  const given = { store, acts };
  return (
    <>
      <h4>Correct with points</h4>
      <div class="fs-row">
        <ToolButton {...given} tool="include">
          + Include
        </ToolButton>
        <ToolButton {...given} tool="exclude">
          − Exclude
        </ToolButton>
        <Button {...given} command="clear">
          Clear points
        </Button>
      </div>
    </>
  );
}
