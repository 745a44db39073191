/** The round: submit, segment, train, and on to the next slice; and how far what runs is. */

import { count, done, progress } from '../model/texts';
import { Button, type Given } from './buttons';

export function Learn({ store, acts }: Given) {
  const given = { store, acts };
  const [dirty, conflict] = [store.open.value?.dirty.length ?? 0, store.asked.value];
  return (
    <section aria-label="Learn">
      <h4>Learn</h4>
      <div class="fs-row">
        <Button {...given} command="right" title="What is shown on this slice is right: Submit makes it a label (Y)">
          This slice is right
        </Button>
        <Button {...given} command="absent" title="The chosen structure is not on this slice (0)">
          Not on this slice
        </Button>
      </div>
      <div class="fs-row">
        <Button {...given} command="submit" title="What is drawn or confirmed becomes a label (S)">{`Submit${conflict ? ' mine' : ''}${dirty ? ` (${count(dirty, 'slice')})` : ''}`}</Button>
        <Button {...given} command="segment" title="The model's answer for the whole series (G)">
          Segment
        </Button>
        <Button {...given} command="train" title="The model learns from all submitted slices (M)">
          {store.training.value ? 'Stop training' : 'Train'}
        </Button>
      </div>
      {conflict && (
        <div class="fs-row">
          <Button {...given} command="theirs" title="Show what was submitted from elsewhere; Undo brings yours back">
            Take theirs
          </Button>
          <Button {...given} command="both" title="Theirs stays the label; yours is kept beside it, to compare the two">
            Keep both
          </Button>
        </div>
      )}
      <div class="fs-row">
        <Button {...given} command="next" title="To the slice whose label would teach most (N)">
          Next slice
        </Button>
        <Button {...given} command="skip" title="Another one; this slice is not offered again (K)">
          Skip
        </Button>
        <Button {...given} command="back" title="To where you were before Next slice (Shift+N)">
          Back
        </Button>
      </div>
    </section>
  );
}

const ENCODING = 'Slices that the encoder has not been over yet. You can go on: an answer gets better by itself once all are encoded.';

export function Progress({ store, acts, lab }: Given) {
  const [training, busy, stats] = [store.training.value, store.busy.value, store.server.value?.training];
  const share = training && stats ? done(stats) : undefined;
  const status = progress(store.server.value, busy);
  return (
    <>
      {share === undefined ? (
        <progress key="unknown" id="fewsam-progress" aria-label="progress" max="1" hidden={!training && !busy} />
      ) : (
        <progress key="share" id="fewsam-progress" aria-label="progress" max="1" value={share} />
      )}
      <div class="fs-row" id="fewsam-below-progress">
        <div class="faint" id="fewsam-status" title={status.startsWith('Encoding') ? ENCODING : status}>
          {status}
        </div>
        {!training && (
          <Button {...{ store, acts, lab }} command="improve" title="For when nobody waits: learn from the images that nobody labelled too">
            Improve overnight
          </Button>
        )}
      </div>
    </>
  );
}
