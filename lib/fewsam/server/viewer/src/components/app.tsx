/** The whole panel, from top to bottom. */

import { Appearance } from './appearance';
import type { Given } from './buttons';
import { Curve } from './curve';
import { Draw } from './draw';
import { History } from './history';
import { Learn, Progress } from './learn';
import { Message } from './message';
import { Points } from './points';
import { Sheet } from './sheet';
import { StructureList } from './structures';
import { style } from './style';
import { Worklist } from './worklist';

export function App(given: Given) {
  return (
    <>
      <style>{style}</style>
      <Message {...given} />
      <StructureList {...given} />
      <Draw {...given} />
      <Points {...given} />
      <Learn {...given} />
      <Progress {...given} />
      <Worklist {...given} />
      <Appearance {...given} />
      <History {...given} />
      <Curve {...given} />
      <Problems {...given} />
      <p class="faint">For research: the viewer and this panel are no medical device.</p>
      <Sheet {...given} />
    </>
  );
}

/** What waits for the PACS, what could not be taken, what others drew. */
function Problems({ store }: Given) {
  return (
    <div class="message bad" id="fewsam-problems">
      {store.problems.value.join('\n')}
    </div>
  );
}
