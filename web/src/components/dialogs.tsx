// SPDX-License-Identifier: MIT
// Which dialog is open, and the smaller ones; the settings are in settings.tsx.
import { signal } from '@preact/signals';
import { useState } from 'preact/hooks';
import { api, type Chat, type Folder, type Prompt } from '../api';
import { day, t } from '../i18n';
import { href } from '../route';
import { editChat, fail, folders, saveFolder, tell, titleOf } from '../store';
import { Icon } from './icon';
import { SettingsDialog } from './settings';
import { ToolsDialog } from './toolbox';
import { Confirm, Dialog, Seg, copy } from './ui';

export type Open =
  | { name: 'settings'; at?: string }
  | { name: 'folder'; folder: Folder | null }
  | { name: 'move'; chat: Chat }
  | { name: 'rename'; chat: Chat }
  | { name: 'share'; chat: Chat }
  | { name: 'fill'; prompt: Prompt; use: (text: string) => void }
  | { name: 'keys' }
  | { name: 'tools' }
  | { name: 'ask'; text: string; act: string; yes: () => void };

export const dialog = signal<Open | null>(null);
const close = (): void => {
  dialog.value = null;
};

export function Dialogs() {
  const now = dialog.value;
  switch (now?.name) {
    case 'settings':
      return <SettingsDialog at={now.at} onClose={close} />;
    case 'folder':
      return <FolderDialog folder={now.folder} />;
    case 'move':
      return <MoveDialog chat={now.chat} />;
    case 'rename':
      return <RenameDialog chat={now.chat} />;
    case 'share':
      return <ShareDialog chat={now.chat} />;
    case 'fill':
      return <FillDialog prompt={now.prompt} use={now.use} />;
    case 'keys':
      return <KeysDialog />;
    case 'tools':
      return <ToolsDialog onClose={close} />;
    case 'ask':
      return <Confirm text={now.text} act={now.act} onYes={now.yes} onClose={close} />;
    default:
      return null;
  }
}

const field = (form: HTMLFormElement, name: string): string =>
  String(new FormData(form).get(name) ?? '').trim();

function FolderDialog({ folder }: { folder: Folder | null }) {
  const submit = (e: SubmitEvent): void => {
    e.preventDefault();
    const form = e.currentTarget as HTMLFormElement;
    const name = field(form, 'name');
    if (!name) return;
    void saveFolder(folder?.id ?? null, { name, instructions: field(form, 'instructions') });
    close();
  };
  return (
    <Dialog title={folder ? t('folderEdit') : t('newFolder')} onClose={close}>
      <form class="form" onSubmit={submit}>
        <label>
          {t('folderName')}
          <input
            class="field"
            name="name"
            required
            maxLength={100}
            defaultValue={folder?.name}
            autoFocus
          />
        </label>
        <label>
          {t('folderInstructions')}
          <textarea
            class="field"
            name="instructions"
            rows={4}
            maxLength={8000}
            defaultValue={folder?.instructions}
          />
        </label>
        <p class="muted">{t('folderInstructionsHint')}</p>
        <FormFoot act={t('save')} />
      </form>
    </Dialog>
  );
}

/** The end of a dialog's form. */
function FormFoot({ act }: { act: string }) {
  return (
    <div class="foot-row">
      <button type="button" class="b line" onClick={close}>
        {t('cancel')}
      </button>
      <button class="b main">{act}</button>
    </div>
  );
}

function MoveDialog({ chat }: { chat: Chat }) {
  const move = (folder: string | null): void => {
    close();
    void editChat(chat.id, { folder });
  };
  return (
    <Dialog title={t('moveTo')} onClose={close}>
      <ul class="choices">
        {[null, ...folders.value].map((f) => (
          <li key={f?.id ?? ''}>
            <button
              type="button"
              class="row-in"
              aria-pressed={chat.folder === (f?.id ?? null)}
              onClick={() => move(f?.id ?? null)}
            >
              <Icon name={f ? 'folder' : 'x'} />
              <span>{f?.name ?? t('folderNone')}</span>
              {chat.folder === (f?.id ?? null) && <Icon name="check" />}
            </button>
          </li>
        ))}
      </ul>
    </Dialog>
  );
}

function RenameDialog({ chat }: { chat: Chat }) {
  const submit = (e: SubmitEvent): void => {
    e.preventDefault();
    const title = field(e.currentTarget as HTMLFormElement, 'title');
    if (title) void editChat(chat.id, { title });
    close();
  };
  return (
    <Dialog title={t('rename')} onClose={close}>
      <form class="form" onSubmit={submit}>
        <label>
          {t('chatTitle')}
          <input
            class="field"
            name="title"
            required
            maxLength={200}
            defaultValue={chat.title}
            autoFocus
          />
        </label>
        <FormFoot act={t('save')} />
      </form>
    </Dialog>
  );
}

const DAYS = ['1', '7', '30', '90'] as const;

function ShareDialog({ chat }: { chat: Chat }) {
  const [days, setDays] = useState<(typeof DAYS)[number]>('30');
  const [made, setMade] = useState<{ token: string; expires: number } | null>(null);
  const url = made ? new URL(href({ name: 'shared', token: made.token }), location.href).href : '';
  const end = (): void => {
    api.unshare(chat.id).then(() => {
      setMade(null);
      tell(t('shareEnded'));
    }, fail);
  };
  return (
    <Dialog title={t('shareTitle')} onClose={close}>
      <p class="lede">
        <b dir="auto">{titleOf(chat)}</b>
      </p>
      <p class="muted">{t('shareWhat')}</p>
      {made ? (
        <div class="form">
          <label>
            {t('shareAddress')}
            <input
              class="field mono"
              readOnly
              value={url}
              onFocus={(e) => e.currentTarget.select()}
            />
          </label>
          <p>
            <span class="expiry">
              <Icon name="time" small />
              {t('shareUntil', { date: day(made.expires) })}
            </span>
          </p>
          <div class="foot-row">
            <button type="button" class="b risk" onClick={end}>
              {t('shareEnd')}
            </button>
            <button type="button" class="b main" onClick={() => void copy(url)}>
              <Icon name="link" small />
              {t('copyAddress')}
            </button>
          </div>
        </div>
      ) : (
        <div class="form">
          <div class="opt">
            <b>{t('shareDays')}</b>
            <Seg
              name="days"
              label={t('shareDays')}
              value={days}
              onPick={setDays}
              options={DAYS.map((d) => [d, t('days', { n: d })])}
            />
          </div>
          <div class="foot-row">
            <button type="button" class="b line" onClick={close}>
              {t('cancel')}
            </button>
            <button
              type="button"
              class="b main"
              onClick={() => api.share(chat.id, Number(days)).then(setMade, fail)}
            >
              {t('shareMake')}
            </button>
          </div>
        </div>
      )}
    </Dialog>
  );
}

/** The places of a prompt to fill in: {{name}}, each once. */
export function variables(text: string): string[] {
  return [...new Set([...text.matchAll(/\{\{\s*([^{}]{1,60}?)\s*\}\}/gu)].map((m) => m[1]!))];
}
export function filled(text: string, values: Record<string, string>): string {
  return text.replace(
    /\{\{\s*([^{}]{1,60}?)\s*\}\}/gu,
    (whole, name: string) => values[name] ?? whole,
  );
}

function FillDialog({ prompt, use }: { prompt: Prompt; use: (text: string) => void }) {
  const submit = (e: SubmitEvent): void => {
    e.preventDefault();
    const data = new FormData(e.currentTarget as HTMLFormElement);
    const values = Object.fromEntries([...data].map(([k, v]) => [k, String(v)]));
    close();
    use(filled(prompt.text, values));
  };
  return (
    <Dialog title={t('promptFill')} onClose={close}>
      <form class="form" onSubmit={submit}>
        <p class="lede">
          <b dir="auto">{prompt.name}</b>
        </p>
        {variables(prompt.text).map((name, i) => (
          <label key={name}>
            {name}
            <textarea class="field" name={name} rows={1} required autoFocus={i === 0} />
          </label>
        ))}
        <FormFoot act={t('insert')} />
      </form>
    </Dialog>
  );
}

export function Keys() {
  const keys: [string, string][] = [
    ['Enter', t('send')],
    ['Shift Enter', t('newline')],
    ['Esc', t('key_stop')],
    ['Ctrl Shift O', t('key_new')],
    ['Ctrl K', t('key_find')],
    ['Ctrl B', t('key_side')],
    ['/', t('key_focus')],
    ['Alt 1 – 4', t('key_starter')],
    ['?', t('key_help')],
  ];
  return (
    <dl class="keys">
      {keys.map(([key, what]) => (
        <div key={key}>
          <dt>
            <kbd>{key}</kbd>
          </dt>
          <dd>{what}</dd>
        </div>
      ))}
    </dl>
  );
}
function KeysDialog() {
  return (
    <Dialog title={t('set_keys')} onClose={close}>
      <Keys />
    </Dialog>
  );
}
