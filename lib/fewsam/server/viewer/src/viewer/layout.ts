/** The viewer's layouts: to the structures in 3D, and back to a layout that shows slices. */

import { active } from './grid';
import { host, viewportOf } from './ohif';

type Any = any;

const ROOM = 0.6; // half of the viewport's height, in diagonals of the structures' bounds
const IN_3D = 'only3D'; // the viewer's own layout of one viewport in 3D

export class Layout {
  private slices = 'default'; // the layout that showed slices last
  private asked = false; // whether the view in 3D was opened here

  /** Slices are shown: it is this layout that back() leads to. */
  remember(): void {
    const id: string | undefined = host.services.hangingProtocolService.getActiveProtocol()?.protocol?.id;
    if (id && id !== IN_3D) this.slices = id;
    this.asked = false;
  }

  back(): void {
    host.commands.run('setHangingProtocol', { protocolId: this.slices });
  }

  in3D(): void {
    this.remember();
    this.asked = true;
    host.commands.run('setHangingProtocol', { protocolId: IN_3D });
  }

  /** Hide the volume, within which the structures lie, as soon as the viewer has made their surfaces. */
  bare(): void {
    const now = this.asked ? active() : null;
    const viewport = now?.view === 'volume' ? viewportOf(now.viewportId) : null;
    const actors: Any[] = (viewport?.getActors() ?? []).map((one: Any) => one.actor);
    const volumes = actors.filter(one => one?.isA?.('vtkVolume'));
    if (actors.length === volumes.length || !volumes.some(one => one.getVisibility())) return;
    volumes.forEach(one => one.setVisibility(false));
    lookAt(viewport, viewport.getRenderer().computeVisiblePropBounds());
  }
}

/** Have the structures fill the viewport: the viewer itself looks at the middle of the volume. */
function lookAt(viewport: Any, [left, right, front, back, low, high]: number[]): void {
  const { position, focalPoint } = viewport.getCamera();
  const middle = [(left + right) / 2, (front + back) / 2, (low + high) / 2];
  const parallelScale = Math.hypot(right - left, back - front, high - low) * ROOM;
  viewport.setCamera({ focalPoint: middle, position: middle.map((v, axis) => v + position[axis] - focalPoint[axis]), parallelScale });
  viewport.render();
}
