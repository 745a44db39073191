/** Tools that draw, the size of the brush, the way back, and one-press edits of the slice on the screen. */

import { Button, type Given, ToolButton } from './buttons';

export function Draw({ store, acts }: Given) {
  const given = { store, acts };
  return (
    <section aria-label="Draw">
      <h4>Draw</h4>
      <div class="fs-row">
        <ToolButton {...given} tool="brush" title="Brush (B)">
          Brush
        </ToolButton>
        <ToolButton {...given} tool="eraser" title="Eraser (E)">
          Eraser
        </ToolButton>
        <ToolButton {...given} tool="threshold" title="Paints what looks like the tissue under the cursor (T)">
          Threshold
        </ToolButton>
        <ToolButton {...given} tool="lasso" title="Drag round an area, or click its corners and press Enter; with Alt it erases (P)">
          Lasso
        </ToolButton>
      </div>
      <div class="fs-row">
        <Button {...given} command="undo" title="Undo (Ctrl+Z)">
          Undo
        </Button>
        <Button {...given} command="redo" title="Redo (Ctrl+Shift+Z or Ctrl+Y)">
          Redo
        </Button>
        <span class="faint">size</span>
        <input
          type="range"
          id="fewsam-size"
          aria-label="brush size"
          title="Radius of the brush in mm ([ and ])"
          min="1"
          max="60"
          step="1"
          value={store.radius.value}
          onInput={event => acts.size(Number(event.currentTarget.value))}
        />
      </div>
      <div class="fs-row edits">
        <Button {...given} command="holes" title="Fill the holes of the chosen structure on this slice (F)">
          Fill holes
        </Button>
        <Button {...given} command="smooth" title="Smooth the outline of the chosen structure on this slice (O)">
          Smooth
        </Button>
        <Button {...given} command="islands" title="Remove small parts of the chosen structure on this slice (U)">
          No islands
        </Button>
      </div>
      <div class="fs-row edits">
        <Button {...given} command="copy" title="Copy the chosen structure from the slice before (D)">
          Copy from before
        </Button>
        <Button {...given} command="interpolate" title="The chosen structure on all slices between drawn ones (J)">
          Interpolate
        </Button>
      </div>
    </section>
  );
}
