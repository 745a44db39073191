/** The learning curve: mean Dice of what was served against what was then submitted, by submission. */

import type { CurvePoint } from '../api';
import type { Given } from './buttons';

const SHOWN = 40; // points

export function mean(point: CurvePoint): number {
  const values = Object.values(point.dice).filter(Number.isFinite);
  return values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
}

export function Curve({ store }: Given) {
  const curve = store.server.value?.curve ?? [];
  const points = curve.slice(-SHOWN).filter(point => Object.keys(point.dice).length);
  const x = (n: number): number => (points.length < 2 ? 130 : 30 + (200 * n) / (points.length - 1));
  const y = (dice: number): number => 95 - 85 * dice;
  const places = points.map((point, n) => [x(n), y(mean(point))]);
  return (
    <>
      <h4>Dice on the slices you corrected</h4>
      <svg class="curve" id="fewsam-curve" viewBox="0 0 240 110">
        {[0, 0.5, 1].map(dice => (
          <>
            <line x1="24" x2="235" y1={y(dice)} y2={y(dice)} stroke="#2a3866" />
            <text x="3" y={y(dice) + 3} fill="#8fa3d6" font-size="9">
              {dice.toFixed(1)}
            </text>
          </>
        ))}
        <polyline points={places.map(p => p.join(',')).join(' ')} fill="none" stroke="#5a78f0" stroke-width="1.5" />
        {places.map(([cx, cy], n) => (
          <>
            <circle cx={cx} cy={cy} r="3" fill={points[n].model_version ? '#3ddc5b' : '#ffb347'} />
            {(points.length <= 8 || n === points.length - 1) && (
              <text x={cx - 8} y={Math.max(cy - 6, 9)} fill="#e6ecff" font-size="9">
                {mean(points[n]).toFixed(2)}
              </text>
            )}
          </>
        ))}
        <text x="28" y="107" fill="#8fa3d6" font-size="9">
          {points.length ? 'submission →   orange: untrained, green: trained' : 'appears when you submit a correction'}
        </text>
      </svg>
    </>
  );
}
