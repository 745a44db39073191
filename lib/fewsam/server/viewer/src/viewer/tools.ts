/** Which tool is in the person's hand: the panel's buttons and the viewer's own follow each other. */

import type { Store } from '../store';
import { brushSize, host, useTool } from './ohif';

const VIEWER: Record<string, string> = {
  brush: 'CircularBrush',
  eraser: 'CircularEraser',
  threshold: 'ThresholdCircularBrushDynamic',
};
const NONE = 'WindowLevel';
const POINTING = ['include', 'exclude', 'lasso', 'scribble', 'box']; // ours: the viewer sees nothing of them

export class Toolbox {
  constructor(private store: Store) {}

  /** brush, eraser, threshold, lasso, include, exclude, or '' for one of the viewer's own. */
  private get current(): string {
    return this.store.tool.value;
  }

  private set current(tool: string) {
    this.store.tool.value = tool;
  }

  private get pointing(): boolean {
    return POINTING.includes(this.current);
  }

  /** Take a tool, or put it away if it is in hand. */
  pick(tool: string, viewportId: string): void {
    this.current = this.current === tool ? '' : tool;
    useTool(viewportId, VIEWER[this.current] ?? NONE);
    if (VIEWER[this.current]) brushSize(this.store.radius.value);
  }

  size(radius: number): void {
    brushSize((this.store.radius.value = Math.max(1, Math.min(60, radius))));
  }

  /** Look what the viewer has in hand: its own buttons and keys choose tools too. Whether that changed something. */
  follow(viewportId: string): boolean {
    const inHand = primary(viewportId);
    if (inHand === null) return false;
    const here = Object.keys(VIEWER).find(tool => VIEWER[tool] === inHand) ?? '';
    const still = this.pointing ? inHand === NONE : here === this.current;
    if (still) return false;
    this.current = here;
    return true;
  }
}

/** Whether the tool in hand there draws in a labelmap: ours by the viewer's brushes, or another one of the viewer's own. */
export const drawsIn = (viewportId: string): boolean => /brush|eraser|scissor|fill|segment/i.test(primary(viewportId) ?? '');

function primary(viewportId: string): string | null {
  try {
    const group = host.services.toolGroupService.getToolGroupForViewport(viewportId);
    return group ? (group.getActivePrimaryMouseButtonTool() ?? '') : null;
  } catch {
    return null;
  }
}
