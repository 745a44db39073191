/** What the panel knows without a viewer, as a module of its own: the tests drive it in Node. */

export { Drafts, pack, unpack } from './drafts';
export { corrected } from './points';
export { Session } from './session';
export { Slices } from './slices';
export { Structures } from './structures';
export { Trail } from './trail';
