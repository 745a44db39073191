/** The colours of the strip: a fixed scale of the Dice to be expected of a slice, which colour-blind people can read too.
 *
 * From dark blue to bright yellow its steps grow in lightness, so that they differ for everybody, and in grey.
 */

export interface Step {
  /** The least expected Dice of this step. */
  from: number;
  colour: string;
  label: string;
}

export const STEPS: Step[] = [
  { from: 0.95, colour: '#00204c', label: '0.95 and more' },
  { from: 0.9, colour: '#31446b', label: '0.90' },
  { from: 0.8, colour: '#666970', label: '0.80' },
  { from: 0.7, colour: '#958f78', label: '0.70' },
  { from: 0.5, colour: '#cbba69', label: '0.50' },
  { from: 0, colour: '#ffea46', label: 'less' },
];

/** Colour of a slice by the error to be expected of it, one minus the Dice. */
export function colourOfError(error: number): string {
  return STEPS.find(step => 1 - error >= step.from - 1e-9)!.colour;
}

export type Mark = 'labelled' | 'drawn' | 'confirmed' | 'changed' | 'waiting';

/** What a mark on the strip means. */
export const MARKS: Record<Mark, { colour: string; label: string }> = {
  labelled: { colour: '#ffffff', label: 'labelled' },
  drawn: { colour: '#56b4e9', label: 'drawn, not submitted' },
  confirmed: { colour: '#009e73', label: 'confirmed, not submitted' },
  changed: { colour: '#d55e00', label: 'changed by the last Segment' },
  waiting: { colour: '#3a3f55', label: 'not segmented' },
};
