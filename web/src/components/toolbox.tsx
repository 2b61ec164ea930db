// SPDX-License-Identifier: MIT
// What answers may use in this chat, and the shape that they have: a button by the composer and the
// dialog that it opens.
import { useEffect, useId, useState } from 'preact/hooks';
import type { Tool, ToolServer } from '../api';
import { t } from '../i18n';
import { editChat, me, model } from '../store';
import { canCall, forced, loadTools, newTools, servers, shape, toolOf } from '../tools';
import { view } from '../view';
import { dialog } from './dialogs';
import { Icon } from './icon';
import { Dialog, IconButton, Toggle } from './ui';

const onNow = (): string[] => view.value?.chat.value.tools ?? newTools.value;
const alwaysNow = (): string[] => view.value?.chat.value.tools_always ?? [];

async function keep(on: string[], always: string[]): Promise<void> {
  const open = view.peek();
  if (!open) {
    newTools.value = on;
    return;
  }
  const kept = await editChat(open.id, { tools: on, tools_always: always });
  if (kept) open.chat.value = kept;
}
const flip = (id: string, on: boolean): void => {
  if (!on && forced.peek() === id) forced.value = null;
  void keep(on ? [...onNow(), id] : onNow().filter((x) => x !== id), alwaysNow());
};

export function ToolButton() {
  useEffect(() => void loadTools(), [me.value]);
  const n = canCall.value ? onNow().filter(toolOf).length : 0;
  const label = n ? t('toolsOn', { n }) : t('tools');
  return (
    <>
      <IconButton
        icon="sliders"
        label={label}
        pressed={n > 0 || shape.value !== ''}
        onClick={() => (dialog.value = { name: 'tools' })}
      />
      {forced.value && canCall.value && (
        <span class="forced">
          <span dir="auto">{toolOf(forced.value)?.title || toolOf(forced.value)?.name}</span>
          <IconButton icon="x" small label={t('forcedOff')} onClick={() => (forced.value = null)} />
        </span>
      )}
    </>
  );
}

export function ToolsDialog({ onClose }: { onClose: () => void }) {
  useEffect(() => void loadTools(), [me.value]);
  return (
    <Dialog title={t('tools')} onClose={onClose}>
      <div class="toolbox">
        <ToolList close={onClose} />
        <Shape />
      </div>
    </Dialog>
  );
}

function ToolList({ close }: { close: () => void }) {
  if (!servers.value.length) return <p class="muted">{t('toolsNone')}</p>;
  if (!canCall.value)
    return (
      <p class="note-box warn">
        <Icon name="warn" />
        <span>{t('toolsModel', { name: model.value })}</span>
      </p>
    );
  return (
    <>
      <p class="muted">{t('toolsWhat')}</p>
      {servers.value.map((s) => (
        <Server key={s.name} server={s} close={close} />
      ))}
    </>
  );
}

function Server({ server, close }: { server: ToolServer; close: () => void }) {
  return (
    <section class="tool-server">
      <h3 dir="auto">{server.name}</h3>
      {server.state === 'starting' && <p class="muted">{t('toolsStarting')}</p>}
      {server.state === 'failed' && (
        <p class="bad" dir="auto">
          {t('toolsFailed')} <small>{server.error}</small>
        </p>
      )}
      {server.state === 'ready' &&
        server.tools.map((tool) => <Row key={tool.id} tool={tool} close={close} />)}
    </section>
  );
}

function Row({ tool, close }: { tool: Tool; close: () => void }) {
  const id = useId();
  const on = onNow().includes(tool.id);
  return (
    <div class="opt">
      <div>
        <b>
          <label for={id} dir="auto">
            {tool.title || tool.name}
          </label>
        </b>
        <p dir="auto">{tool.description}</p>
        {on && (
          <p class="tool-acts">
            <button
              type="button"
              class="b sm line"
              onClick={() => {
                forced.value = tool.id;
                close();
              }}
            >
              {t('toolForce')}
            </button>
            {alwaysNow().includes(tool.id) && (
              <button
                type="button"
                class="b sm line"
                onClick={() =>
                  void keep(
                    onNow(),
                    alwaysNow().filter((x) => x !== tool.id),
                  )
                }
              >
                {t('toolAskAgain')}
              </button>
            )}
          </p>
        )}
      </div>
      <Toggle id={id} on={on} onSet={(v) => flip(tool.id, v)} />
    </div>
  );
}

/** A JSON schema for the answers; kept when it is one. */
function Shape() {
  const id = useId();
  const [bad, setBad] = useState(false);
  const change = (text: string): void => {
    const trimmed = text.trim();
    let ok = trimmed === '';
    try {
      const value: unknown = trimmed ? JSON.parse(trimmed) : null;
      ok ||= typeof value === 'object' && value !== null && !Array.isArray(value);
    } catch {
      /* told below */
    }
    setBad(!ok);
    if (ok) shape.value = trimmed;
  };
  return (
    <section class="tool-server">
      <h3>
        <label for={id}>{t('shape')}</label>
      </h3>
      <p class="muted">{t('shapeHint')}</p>
      <textarea
        class="field mono"
        id={id}
        rows={5}
        spellcheck={false}
        maxLength={32000}
        defaultValue={shape.peek()}
        aria-invalid={bad}
        placeholder={'{"type": "object", "properties": {}}'}
        onInput={(e) => change(e.currentTarget.value)}
      />
      {bad && (
        <p class="bad" role="alert">
          {t('shapeBad')}
        </p>
      )}
    </section>
  );
}
