/** The worklist: where the open series and all others stand, what is said of them, and results to take away. */

import { resultAddress, tableAddress } from '../api';
import type { Place, Series, Study } from '../lab';
import type { Given } from './buttons';
import { Readings } from './readings';
import { TextInput } from './textinput';

const REVIEWED: Place[] = ['done', 'unsure', 'accepted'];
const FORMS = [
  ['nii.gz', 'NIfTI'],
  ['seg.nrrd', 'NRRD'],
  ['dcm', 'DICOM SEG'],
] as const;

export function Worklist(given: Given) {
  const { store, acts, lab } = given;
  const { value: list } = lab.worklist;
  const series = lab.of(store.open.value?.series);
  const person = store.server.value?.person || lab.name.value;
  return (
    <details id="fewsam-worklist" onToggle={event => acts.lab.unfold(event.currentTarget.open)}>
      <summary>
        Worklist <span class="faint">{lab.summary.value}</span>
      </summary>
      {person && (
        <div class="faint">
          {`You are ${person}. `}
          {store.server.value?.person === lab.name.value && (
            <button class="small" id="fewsam-rename-me" onClick={() => (lab.naming.value = true)}>
              Somebody else
            </button>
          )}
        </div>
      )}
      {series && <Marks {...given} series={series} />}
      <Readings {...given} />
      {list?.problem && <div class="message bad">{list.problem}</div>}
      <div id="fewsam-studies">{list?.studies.map(study => <Rows key={study.study} {...given} study={study} />)}</div>
    </details>
  );
}

/** What a person says of the open series. */
function Marks({ store, acts, lab, series }: Given & { series: Series }) {
  const review = lab.worklist.value?.can_review && REVIEWED.includes(series.state);
  const marked = ['done', 'unsure', 'accepted', 'sent back'].includes(series.state);
  return (
    <>
      <div id="fewsam-place">
        This series: <State series={series} />
        {series.grown_since && ', the series has changed since it was marked'}
        {series.changed_since && ' labelled again since'}
        {series.note && <span class="faint">{` “${series.note}”, ${series.marked_by || 'somebody'}`}</span>}
      </div>
      <div class="fs-row">
        <button id="fewsam-done" onClick={() => acts.lab.mark(series, 'done')}>
          Mark as done
        </button>
        <button id="fewsam-unsure" onClick={() => acts.lab.mark(series, 'unsure')}>
          Unsure
        </button>
        {marked && (
          <button id="fewsam-reopen" onClick={() => acts.lab.mark(series, 'open')}>
            Open again
          </button>
        )}
      </div>
      {review && (
        <>
          <div class="fs-row">
            <button id="fewsam-accept" disabled={series.state === 'accepted'} onClick={() => acts.lab.review(series, 'accepted')}>
              Accept
            </button>
          </div>
          <div class="fs-row">
            <TextInput id="fewsam-note" label="What is to be mended" value={lab.note.value} input={text => (lab.note.value = text)} enter={() => acts.lab.review(series, 'sent back')} />
            <button id="fewsam-sendback" onClick={() => acts.lab.review(series, 'sent back')}>
              Send back
            </button>
          </div>
        </>
      )}
      <Results known={store.answered.value || series.labelled_slices > 0} image={series.image} />
    </>
  );
}

/** Results as files; what the browser downloads is what the server knows, without what is not submitted. */
function Results({ known, image }: { known: boolean; image: string }) {
  return (
    <div class="fs-row" id="fewsam-results">
      {known && FORMS.map(([form, name]) => (
        <a key={form} class="button" href={resultAddress(image, form)} download title="What was submitted and segmented, as a file">
          {`↓ ${name}`}
        </a>
      ))}
      <a class="button" href={tableAddress()} download title="Millilitres of each structure, of all series">
        ↓ Volumes (CSV)
      </a>
    </div>
  );
}

function Rows({ store, acts, study }: Given & { study: Study }) {
  const here = store.open.value?.series;
  return (
    <div class="study">
      <div class="faint">{[study.patient || 'No patient', study.date].filter(Boolean).join(', ')}</div>
      {study.series.map(series => (
        <button
          key={series.image}
          class={`series ${series.image === here ? 'on' : ''}`}
          disabled={series.image === here}
          title={title(series)}
          onClick={() => acts.lab.visit(study, series)}
        >
          <span>{series.description || series.modality || series.image}</span>
          <span class="people">{series.people.join(', ')}</span>
          <State series={series} />
        </button>
      ))}
    </div>
  );
}

function State({ series }: { series: Series }) {
  return <span class={`place ${series.state.replace(' ', '-')}`}>{series.state}</span>;
}

function title(series: Series): string {
  const labelled = `${series.labelled_slices} labelled slices${series.labelled_by ? `, last by ${series.labelled_by}` : ''}`;
  const grown = series.grown_since && 'The series has changed since it was marked.';
  return [series.description, grown, labelled, series.note && `“${series.note}”`, series.people.length && `open: ${series.people.join(', ')}`].filter(Boolean).join('\n');
}
