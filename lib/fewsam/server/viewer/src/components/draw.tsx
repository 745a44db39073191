/** Tools that draw, the way back, and the size of the brush. */

import { Button, type Given, ToolButton } from './buttons';

export function Draw({ store, acts }: Given) {
  const given = { store, acts };
  return (
    <>
      <h4>Draw</h4>
      <div class="fs-row">
        <ToolButton {...given} tool="brush">
          Brush
        </ToolButton>
        <ToolButton {...given} tool="eraser">
          Eraser
        </ToolButton>
        <ToolButton {...given} tool="threshold" title="Paints what looks like the tissue under the cursor">
          Threshold
        </ToolButton>
      </div>
      <div class="fs-row">
        <Button {...given} command="undo" title="Ctrl+Z">
          Undo
        </Button>
        <Button {...given} command="redo" title="Ctrl+Shift+Z or Ctrl+Y">
          Redo
        </Button>
        <span class="faint">size</span>
        <input
          type="range"
          id="fewsam-size"
          aria-label="brush size"
          min="1"
          max="60"
          step="1"
          value={store.radius.value}
          onInput={event => acts.size(Number(event.currentTarget.value))}
        />
      </div>
    </>
  );
}
