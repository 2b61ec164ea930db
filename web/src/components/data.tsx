// SPDX-License-Identifier: MIT
// The settings' section on chats that move in and out.
import { useEffect, useRef, useState } from 'preact/hooks';
import { exportAll, FILE_MAX, importFile, NotOurs, type Progress, type Report } from '../archive/archive';
import { bytes, number } from '../i18n';
import { ts, type ShareKey } from '../i18n/share';
import { fail, folders, loadChats, tell } from '../store';
import { api } from '../api';
import { Icon } from './icon';

export function Moving() {
  return (
    <>
      <Out />
      <In />
    </>
  );
}

function Out() {
  const [n, setN] = useState<number | null>(null);
  const save = async (): Promise<void> => {
    setN(0);
    try {
      const got = await exportAll(setN);
      const url = URL.createObjectURL(got.file);
      const date = new Date().toISOString().slice(0, 10);
      Object.assign(document.createElement('a'), { href: url, download: `damso-${date}.json` }).click();
      setTimeout(() => URL.revokeObjectURL(url), 60_000);
      tell(ts('exportDone', { n: number(got.n) }));
    } catch (error) {
      fail(error);
    }
    setN(null);
  };
  return (
    <div class="opt">
      <div>
        <b>{ts('exportAll')}</b>
        <p>{ts('exportHint')}</p>
      </div>
      <button type="button" class="b line" disabled={n !== null} onClick={() => void save()}>
        {n === null ? <Icon name="save" small /> : <span class="busy-dot" aria-hidden="true" />}
        <span role="status">{n === null ? ts('exportAll') : ts('exportBusy', { n: number(n) })}</span>
      </button>
    </div>
  );
}

type State = { now: Progress } | { over: Report; stopped: boolean } | { error: string } | null;

function In() {
  const [state, setState] = useState<State>(null);
  const stop = useRef<AbortController | null>(null);
  useEffect(() => () => stop.current?.abort(), []);
  const take = async (file: File): Promise<void> => {
    if (file.size > FILE_MAX) {
      setState({ error: ts('importTooLarge', { size: bytes(file.size) }) });
      return;
    }
    const control = (stop.current = new AbortController());
    let shown = 0;
    const show = (now: Progress): void => {
      if (performance.now() - shown < 100) return;
      shown = performance.now();
      setState({ now: { percent: now.percent, report: { ...now.report } } });
    };
    show({ percent: 0, report: { made: 0, known: 0, empty: 0, large: 0, bad: 0, images: 0, tools: 0 } });
    try {
      const over = await importFile(file, show, control.signal);
      setState({ over, stopped: control.signal.aborted });
    } catch (error) {
      if (error instanceof NotOurs) setState({ error: ts('importNotOurs') });
      else setState({ error: error instanceof Error ? error.message : String(error) });
    }
    folders.value = await api.folders().catch(() => folders.peek());
    void loadChats();
  };
  return (
    <div class="opt tall">
      <div>
        <b>{ts('importAll')}</b>
        <p>{ts('importHint')}</p>
      </div>
      <p class="import-act">
        <label class="b line">
          <Icon name="clip" small />
          {ts('importPick')}
          <input
            class="vh"
            type="file"
            accept=".zip,.json,application/zip,application/json"
            disabled={state !== null && 'now' in state}
            onChange={(e) => {
              const file = e.currentTarget.files?.[0];
              e.currentTarget.value = '';
              if (file) void take(file);
            }}
          />
        </label>
        {state && 'now' in state && (
          <button type="button" class="b" onClick={() => stop.current?.abort()}>
            {ts('importStop')}
          </button>
        )}
      </p>
      <div role="status" class="import-state">
        {state && 'now' in state && <Reading now={state.now} />}
        {state && 'error' in state && (
          <p class="note-box bad">
            <Icon name="warn" />
            <span>{state.error}</span>
          </p>
        )}
        {state && 'over' in state && <Result report={state.over} stopped={state.stopped} />}
      </div>
    </div>
  );
}

function Reading({ now }: { now: Progress }) {
  const { made, known } = now.report;
  return (
    <>
      <progress max={100} value={now.percent} aria-label={ts('importAll')} />
      <p class="muted num">
        {ts('importBusy', { percent: number(now.percent), n: number(made + known) })}
      </p>
    </>
  );
}

const LINES: [keyof Report, ShareKey][] = [
  ['made', 'importMade'],
  ['known', 'importKnown'],
  ['empty', 'importEmpty'],
  ['large', 'importLarge'],
  ['bad', 'importBad'],
  ['images', 'importImages'],
  ['tools', 'importTools'],
];
function Result({ report, stopped }: { report: Report; stopped: boolean }) {
  return (
    <>
      <p class="state on">
        <Icon name={stopped ? 'time' : 'check'} small />
        {ts(stopped ? 'importStopped' : 'importDone')}
      </p>
      <ul class="import-list">
        {LINES.filter(([key]) => report[key] > 0 || key === 'made').map(([key, text]) => (
          <li key={key}>{ts(text, { n: number(report[key]) })}</li>
        ))}
      </ul>
    </>
  );
}
