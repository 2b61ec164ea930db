// SPDX-License-Identifier: MIT
// Calls of tools in an answer: each is shown with what it is given, asked for, and folded when it
// is over. Names, arguments and results are others' words: they are text here and never more.
import { useId, useState } from 'preact/hooks';
import type { Call, Message } from '../api';
import { bytes, number, t, type Key } from '../i18n';
import { argumentsOf } from '../tools';
import { utf8Length } from '../utf8';
import { decide } from '../view';
import { Icon } from './icon';

const STATES: Record<Call['state'], Key> = {
  asked: 'callWaits',
  allowed: 'callRunning',
  running: 'callRunning',
  done: 'callDone',
  failed: 'callFailed',
  refused: 'callRefused',
  stopped: 'callStopped',
};

export function Calls({
  message,
  calls,
  readOnly,
  latest,
}: {
  message: Message;
  calls: Call[];
  readOnly?: boolean;
  latest: boolean;
}) {
  return (
    <>
      {calls.map((call) =>
        call.state === 'asked' && latest && !readOnly ? (
          <Ask key={call.id} message={message} call={call} />
        ) : (
          <Folded key={call.id} call={call} />
        ),
      )}
    </>
  );
}

const nameOf = (call: Call): string => call.title || call.name || call.tool;

function Ask({ message, call }: { message: Message; call: Call }) {
  const [sent, setSent] = useState(false);
  const id = useId();
  const say = (allow: 'once' | 'always' | 'no'): void => {
    setSent(true);
    void decide(message, call, allow).finally(() => setSent(false));
  };
  return (
    <section class="call-ask" aria-labelledby={id} data-call={call.id}>
      <p class="call-q" id={id} dir="auto">
        {t('callAsk', { name: nameOf(call) })}
      </p>
      <p class="muted" dir="auto">
        {t('callFrom', { server: call.server, tool: call.name })}
      </p>
      <Given text={call.arguments} />
      <p class="muted">{t('callWarn')}</p>
      <div class="foot-row">
        <button type="button" class="b line" disabled={sent} onClick={() => say('no')}>
          {t('callNo')}
        </button>
        <button type="button" class="b line" disabled={sent} onClick={() => say('always')}>
          {t('callAlways')}
        </button>
        <button type="button" class="b main" disabled={sent} onClick={() => say('once')}>
          {t('callOnce')}
        </button>
      </div>
    </section>
  );
}

function Given({ text }: { text: string }) {
  const given = argumentsOf(text);
  if (typeof given === 'string')
    return (
      <pre class="call-text" dir="auto" tabIndex={0}>
        {given}
      </pre>
    );
  if (!given.length) return <p class="muted">{t('callNothing')}</p>;
  return (
    <dl class="call-given">
      {given.map(([name, value]) => (
        <div key={name}>
          <dt dir="auto">{name}</dt>
          <dd dir="auto">{value}</dd>
        </div>
      ))}
    </dl>
  );
}

function Folded({ call }: { call: Call }) {
  const busy = call.state === 'running' || call.state === 'allowed';
  const bad = call.state === 'failed' || call.state === 'refused';
  return (
    <details class="reason call" data-state={call.state}>
      <summary>
        <Icon name="right" small />
        <b dir="auto">{nameOf(call)}</b>
        <span class={bad ? 'bad' : undefined}>
          {busy && <i class="busy-dot" />} {t(STATES[call.state])}
        </span>
      </summary>
      <div>
        <p class="muted" dir="auto">
          {t('callFrom', { server: call.server, tool: call.name })}
        </p>
        <Given text={call.arguments} />
        {call.result !== undefined && <Result call={call} />}
      </div>
    </details>
  );
}

/** Kinds of pictures that hold no program; the server lets through no others. */
const PICTURE = /^image\/(png|jpeg|gif|webp)$/;

function Result({ call }: { call: Call }) {
  const text = call.result ?? '';
  const size = utf8Length(text);
  const all = call.bytes ?? size;
  const read = Math.min(call.kept ?? size, size);
  return (
    <>
      <p class="call-r">{t('callResult')}</p>
      <pre class="call-text" dir="auto" tabIndex={0}>
        {text}
      </pre>
      {call.images
        ?.filter((i) => PICTURE.test(i.type))
        .map((i, n) => (
          <img key={n} src={`data:${i.type};base64,${i.data}`} alt={t('callPicture')} />
        ))}
      {size < all && (
        <p class="cut-note">{t('callCut', { kept: bytes(size), all: bytes(all) })}</p>
      )}
      {read < all && (
        <p class="cut-note">
          {t('readPart', { n: number(Math.max(1, Math.floor((read * 100) / all))) })}
        </p>
      )}
    </>
  );
}
