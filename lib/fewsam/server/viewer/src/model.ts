/** What works without a viewer, as a module of its own: the tests drive it in Node. */

export * as api from './api';
export { Drafts, pack, unpack } from './model/drafts';
export { interpolated, painted, sparing, withMask } from './model/editing';
export { type Keys, pressed, SHEET } from './model/keys';
export { LOOK, colourOf, hex, keep, kept, toggled, unhex } from './model/look';
export { between, distances, filled, polygon, smoothed, withoutIslands } from './model/masks';
export { corrected } from './model/points';
export { asked, obeyed, planes, reapplied } from './model/prompts';
export { MARKS, STEPS, colourOfError } from './model/scale';
export { Session } from './model/session';
export { Slices } from './model/slices';
export { Structures } from './model/structures';
export { Closing } from './acts/closing';
export { Editing } from './acts/editing';
export { Journey } from './acts/journey';
export { Judging } from './acts/judging';
export { Labwork } from './acts/labwork';
export { Learning } from './acts/learning';
export { Opening } from './acts/opening';
export { Pointing } from './acts/pointing';
export { Polling } from './acts/polling';
export { Prompting } from './acts/prompting';
export { Submitting } from './acts/submitting';
export { Tracing } from './acts/tracing';
export { Watching } from './acts/watching';
export { Working } from './acts/working';
export * as texts from './model/texts';
export { Trail } from './model/trail';

// The components, drawn as text.
export { h } from 'preact';
export { render } from 'preact-render-to-string';
export { App } from './components/app';
export { Lab } from './lab';
export { Store } from './store';

// What works with the viewer, and what tests put in its place.
export { Labelmap } from './viewer/labelmap';
export { Lasso } from './viewer/lasso';
export { host, showPanel } from './viewer/ohif';
export { Unfollowed } from './viewer/unfollowed';
